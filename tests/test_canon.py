"""One text for one value, and the door that refuses what databases and hashes cannot keep."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leverframe.canon import MAX_DEPTH, Json, admit, canonical, digest, ordered, parse, text_hash
from leverframe.errors import InputError, NotJson, TooLarge

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@given(VALUES)
def test_what_is_admitted_comes_back_from_its_text_as_it_was(value: Json) -> None:
    assert parse(canonical(admit(value, what="it")), what="it") == value
    assert canonical(json.loads(canonical(value))) == canonical(value)
    assert canonical(value).isascii()


def test_the_order_of_keys_does_not_change_the_canonical_text_and_does_the_ordered_one() -> None:
    one, other = {"b": 1, "a": [True, None]}, {"a": [True, None], "b": 1}
    assert canonical(one) == canonical(other) == '{"a":[true,null],"b":1}'
    assert ordered(one) == '{"b":1,"a":[true,null]}'
    assert digest(one) == digest(other) == text_hash(canonical(one))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": ["x", "a\0b"]}, "memory.a[1]: holds a NUL character"),
        ({"a\0": 1}, "memory key: holds a NUL character"),
        ({"a": "ü\0"}, "memory.a: holds a NUL character"),
        (["\ud800"], "memory[0]: holds a lone surrogate at 0"),
        ({"a": float("nan")}, "memory.a: nan is not JSON; send null or a string"),
        (float("inf"), "memory: inf is not JSON"),
        (-float("inf"), "memory: -inf is not JSON"),
        ({1: "a"}, "memory: a key is 1; keys are strings"),
        ({"a": b"bytes"}, "memory.a: bytes is not JSON"),
        ({"a": {1, 2}}, "memory.a: set is not JSON"),
        (object(), "memory: object is not JSON"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_place(value: object, message: str) -> None:
    with pytest.raises(NotJson) as refused:
        admit(value, what="memory")
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 1025,
        ["x" * 600, "y" * 600],
        [0] * 600,
        {"k" * 1100: 1},
        [10**300] * 10,
        "ü" * 600,
        [list[int]()] * 600,
        [dict[str, int]()] * 600,
    ],
)
def test_what_is_too_large_is_refused(value: object) -> None:
    with pytest.raises(TooLarge, match="over 1 KiB; keep it elsewhere and pass a reference"):
        admit(value, what="it", limit=1024)


def test_a_limit_below_a_kibibyte_is_said_in_bytes() -> None:
    with pytest.raises(TooLarge, match="by: over 256 bytes; keep it elsewhere"):
        admit("x" * 300, what="by", limit=256)


LARGEST = 10**308 - 1


@pytest.mark.parametrize("value", [2**53 + 1, 2**64, LARGEST, -LARGEST])
def test_an_integer_is_kept_exactly_as_far_as_a_double_reaches(value: int) -> None:
    assert parse(canonical(admit(value, what="it")), what="it") == value


@pytest.mark.parametrize("value", [LARGEST + 1, -LARGEST - 1, 10**4299, 10**5000, -(10**200_000)], ids=range(5))
def test_a_larger_integer_is_refused_with_its_place(value: int) -> None:
    with pytest.raises(TooLarge, match=r"^memory\.a\[1\]: an integer of more than 308 digits; send it as a string$"):
        admit({"a": [1, value]}, what="memory")


@pytest.mark.parametrize("digits", [309, 4300, 4301, 100_000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_larger_integer_in_text_is_refused_with_its_place(digits: int, sign: str) -> None:
    with pytest.raises(TooLarge, match=r"^input\.a\[1\]: an integer of more than 308 digits; send it as a string$"):
        parse(f'{{"a": [1, {sign}{"9" * digits}]}}', what="input")


def test_depth_is_bounded_and_a_hostile_value_costs_no_stack() -> None:
    assert admit(nested(MAX_DEPTH), what="it") == nested(MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 5000):
        with pytest.raises(TooLarge, match="nested deeper than 64 levels; flatten it"):
            admit(nested(depth), what="it")


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(TooLarge, match="nested deeper"):
        admit(value, what="it")


def test_tuples_become_lists_and_what_is_given_is_not_shared() -> None:
    given: dict[str, Sequence[int]] = {"a": (1, 2)}
    admitted = admit(given, what="it")
    assert admitted == {"a": [1, 2]}
    assert admitted is not given


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", InputError, "input: not JSON: "),
        ("", InputError, "input: not JSON: "),
        ("[" * 100_000, TooLarge, "input: nested deeper than 64 levels"),
        ("[NaN]", NotJson, r"input\[0\]: nan is not JSON"),
        ("[1e999]", NotJson, r"input\[0\]: inf is not JSON"),
        ('"\\u0000"', NotJson, "input: holds a NUL"),
        ('"\\ud800"', NotJson, "input: holds a lone surrogate"),
        ('"' + "x" * 300_000 + '"', TooLarge, "input: over 256 KiB"),
        ('"' + "x" * 10_000_000 + '"', TooLarge, "input: over 256 KiB"),
    ],
)
def test_text_from_outside_is_data_or_an_error_that_says_why(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse(text, what="input")
