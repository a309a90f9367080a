"""Prompt files: found, parsed and rendered strictly; every slip is an error with file and line."""

import re
from pathlib import Path
from time import perf_counter
from typing import cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from leverframe.canon import Json, Object
from leverframe.errors import PromptError
from leverframe.prompt import Message, Partial, Prompt, choose, find, pinned, pinned_partials, pins, render
from leverframe.readable import readable
from leverframe.template import LONGEST, fill, rendered

TRIAGE = """---
model: openai/gpt-4o-mini
temperature: 0
max_tokens: 300
weight: 2
variables: [message, order, window, choices]
examples:
  - when: Order 1001 arrived broken
    reply: {intent: issue_refund, arguments: {order_id: "{{ order.id }}", note: "{{ numbers[0] }} {{ text }}"}}
  - when: {message: hello, order: null}
    reply: {intent: escalate}
otherwise: {intent: escalate, reason: unsure}
---

# system

You decide.
{{ choices }}

# User
{% if order %}
Order: {{ order }}
{% endif %}

```
# user
```
# Usage is a heading of the text
{{ message }}

# assistant
I see.
"""


def write(home: Path, name: str, text: str | bytes) -> Path:
    path = home / "prompts" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def told(text: str, **variables: object) -> str:
    return render(Prompt.parse("a/b", "", f"# user\n{text}"), variables)[0].content


PARTIAL = "Be brief.\n{% if order %}\nNever promise {{ order.id }}.\n{% endif %}\n"


def partial(text: str, name: str = "refund/_tone.md") -> Partial:
    return Partial(name, text)


# --- files --------------------------------------------------------------------------------------------------------------------


def test_a_prompt_is_read_with_its_variants(tmp_path: Path) -> None:
    path = write(tmp_path, "refund/triage", TRIAGE)
    write(tmp_path, "refund/triage.b", "# user\nShorter {{ message }}")
    write(tmp_path, "refund/triage2", "# user\nAnother")
    base, b = find(tmp_path, "refund/triage")
    assert (base.name, base.variant, base.path, base.text) == ("refund/triage", "", path, TRIAGE)
    assert (base.model, base.temperature, base.max_tokens, base.weight) == ("openai/gpt-4o-mini", 0.0, 300, 2.0)
    assert base.variables == ("message", "order", "window", "choices")
    assert [(section.role, section.line) for section in base.sections] == [("system", 17), ("user", 21), ("assistant", 32)]
    assert base.otherwise == {"intent": "escalate", "reason": "unsure"}
    assert base.examples[0].when == "Order 1001 arrived broken"
    assert (base.examples[1].when, base.examples[1].line) == ({"message": "hello", "order": None}, 10)
    assert (b.variant, b.weight, b.variables, b.examples, b.otherwise) == ("b", 1.0, None, (), None)


def test_a_prompt_can_be_made_again_from_its_text(tmp_path: Path) -> None:
    write(tmp_path, "refund/triage", TRIAGE)
    base = find(tmp_path, "refund/triage")[0]
    again = Prompt.parse(base.name, base.variant, base.text)
    assert again == base
    assert again.path is None
    assert (again.hash, again.examples, again.model) == (base.hash, base.examples, base.model)
    assert again.where == "prompts/refund/triage.md"
    assert Prompt.parse("a", "b", "# user\nx").where == "prompts/a.b.md"


def test_the_hash_is_of_the_text_whatever_the_editor() -> None:
    unix, dos = Prompt.parse("a", "", "# user\nx\ny"), Prompt.parse("a", "", "\ufeff# user\r\nx\r\ny")
    assert unix.hash == dos.hash
    assert unix.hash != Prompt.parse("a", "", "# user\nx\ny ").hash


def test_a_missing_prompt_names_the_path_and_the_near_miss(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"looked for .*/prompts/refund/triage\.md\. There is no folder"):
        find(tmp_path, "refund/triage")
    write(tmp_path, "refund/triage", "# user\nx")
    with pytest.raises(PromptError, match=r"looked for .*/refund/triag\.md\. Did you mean 'refund/triage'\?"):
        find(tmp_path, "refund/triag")
    with pytest.raises(PromptError, match="There are: refund/triage"):
        find(tmp_path, "x/y")
    for name in ("../secrets", "/etc/passwd", "a//b", "a.b", ""):
        with pytest.raises(PromptError, match="prompt name"):
            find(tmp_path, name)


def test_a_file_that_cannot_be_read_as_text_says_where(tmp_path: Path) -> None:
    write(tmp_path, "a/b", b"# user\nGr\xfc\xdfe")
    with pytest.raises(PromptError, match=r"a/b\.md: not UTF-8 text at byte 9"):
        find(tmp_path, "a/b")


def test_several_models_are_a_list_or_have_commas() -> None:
    for written in ("[openai/a, anthropic/b]", "openai/a,anthropic/b", "\n  - openai/a\n  - anthropic/b"):
        assert Prompt.parse("a/b", "", FRONT.format(f"model: {written}")).model == "openai/a, anthropic/b"


def test_a_file_of_any_size_and_any_depth_is_refused_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a/b", "# user\n" + "x" * 20_000_000)
    with pytest.raises(PromptError, match=r"a/b\.md: over 256 KiB"):
        find(tmp_path, "a/b")
    doubled = "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(PromptError, match="over 256 KiB"):
        Prompt.parse("a/b", "", f"---\notherwise:\n  intent: x\n  a0: &a0 [x]\n{doubled}---\n# user\nx")


def test_variants_that_cannot_be_chosen_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a/b", "---\nweight: 0\n---\n# user\nx")
    with pytest.raises(PromptError, match="every variant has weight 0"):
        find(tmp_path, "a/b")
    write(tmp_path, "a/b", "---\nshadow: true\n---\n# user\nx")
    with pytest.raises(PromptError, match="every variant has weight 0 or is a shadow"):
        find(tmp_path, "a/b")
    write(tmp_path, "a/b.base", "# user\nx")
    with pytest.raises(PromptError, match=r"variant 'base': so b\.md is called"):
        find(tmp_path, "a/b")
    (tmp_path / "prompts" / "a" / "b.base.md").unlink()
    write(tmp_path, "a/b.c d", "# user\nx")
    with pytest.raises(PromptError, match="variant 'c d'"):
        find(tmp_path, "a/b")


# --- partials -----------------------------------------------------------------------------------------------------------------


def test_what_prompts_share_stands_in_a_file_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "refund/triage", '# system\n{% include "refund/_tone.md" %}\n# user\n{{ message }}')
    write(tmp_path, "refund/_tone", "Be brief.\r\n{% include 'house/_signed.md' %}\n")
    write(tmp_path, "house/_signed", "Sign as {{ clerk }}.")
    write(tmp_path, "house/_other", "Not used.")
    (triage,) = find(tmp_path, "refund/triage")
    assert [one.name for one in triage.partials] == ["house/_signed.md", "refund/_tone.md"]
    messages = render(triage, {"message": "hello", "clerk": "Ann"})
    assert messages == [Message("system", "Be brief.\nSign as Ann."), Message("user", "hello")]


def test_a_prompt_is_made_again_with_what_it_included_when_it_was_pinned(tmp_path: Path) -> None:
    write(tmp_path, "refund/triage", '# user\n{% include "refund/_tone.md" %}')
    write(tmp_path, "refund/triage.b", "# user\nShorter")
    write(tmp_path, "refund/_tone", PARTIAL)
    found = find(tmp_path, "refund/triage")
    body: Object = {"prompt": "refund/triage", **pins(found, chosen=False)}
    assert body["partials"] == {"refund/_tone.md": PARTIAL}
    again = [Prompt.parse(*each, partials=pinned_partials(body)) for each in pinned(body)]
    assert again == found
    assert [one.hash for one in again] == [one.hash for one in found]
    assert render(again[0], {"order": {"id": 7}})[0].content == "Be brief.\nNever promise 7.\n"


def test_the_hash_of_a_prompt_covers_what_it_includes() -> None:
    text = '# user\n{% include "refund/_tone.md" %}'
    one, other = (Prompt.parse("a/b", "", text, partials=[partial(words)]) for words in ("Be brief.", "Be kind."))
    assert one.hash != other.hash
    assert one != other
    unused = Prompt.parse("a/b", "", "# user\nx", partials=[partial("Be brief.")])
    assert (unused.hash, unused.partials) == (Prompt.parse("a/b", "", "# user\nx").hash, ())


@pytest.mark.parametrize(
    ("text", "partials", "message"),
    [
        ("{% include 'refund/_tne.md' %}", {"refund/_tone.md": "x"}, r"b\.md:3: includes 'refund/_tne\.md', .*Did you mean 'refund/_tone\.md'"),
        ("{% include 'a/_b.md' %}", {"a/_b.md": "\n{% include 'a/_c.md' %}"}, r"a/_b\.md:2: includes 'a/_c\.md', which is not one of a/_b"),
        ("{% include 'a/_b.md' %}", {"a/_b.md": "{% include 'a/_c.md' %}", "a/_c.md": "\n{% include 'a/_b.md' %}"},
         r"a/_c\.md:2: includes 'a/_b\.md', which leads back here: a/_b\.md → a/_c\.md → a/_b\.md"),
        ("{% include 'a/_b.md' %}", {"a/_b.md": "{% include 'a/_b.md' %}"}, "leads back here: a/_b.md → a/_b.md"),
        ("{% include message %}", {}, r'b\.md:3: what is shared is included by its name in prompts/: \{% include "agent/_name.md" %\}'),
        ("{% include 'a/b.md' %}", {}, "included by its name"),
        ("{% include '../_x.md' %}", {}, "included by its name"),
        ("{% include 'a/_b.md' ignore missing %}", {"a/_b.md": "x"}, "included by its name"),
        ("{% include ['a/_b.md', 'a/_c.md'] %}", {"a/_b.md": "x"}, "included by its name"),
        ("{% import 'a/_b.md' as b %}", {"a/_b.md": "x"}, "included by its name"),
        ("{% extends 'a/_b.md' %}", {"a/_b.md": "x"}, "included by its name"),
        ("{% include 'a/_b.md' %}", {"a/_b.md": "x\n# user\ny"}, r"a/_b\.md:2: a partial has no sections; take '# user' out"),
        ("{% include 'a/_b.md' %}", {"a/_b.md": "{% if %}"}, r"a/_b\.md:1: "),
    ],
)  # fmt: skip
def test_an_include_that_cannot_be_is_refused_with_its_line(text: str, partials: dict[str, str], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Prompt.parse("a/b", "", f"# user\n\n{text}", partials=[Partial(name, words) for name, words in partials.items()])


def test_a_partial_is_held_to_the_variables_of_who_includes_it() -> None:
    text = "---\nvariables: [message]\n---\n# user\n{{ message }}\n{% include 'refund/_tone.md' %}"
    prompt = Prompt.parse("a/b", "", text, partials=[partial(PARTIAL)])
    with pytest.raises(PromptError, match=r"^prompts/refund/_tone\.md:2: uses 'order', .*prompts/a/b\.md, which includes it"):
        prompt.check({"message", "order"})
    free = Prompt.parse("a/b", "", text.replace("variables: [message]", ""), partials=[partial(PARTIAL)])
    free.check({"message", "order"})
    with pytest.raises(
        PromptError, match=r"^prompts/refund/_tone\.md:2: uses 'order', which is not one of message, ordr\. Did you"
    ):
        free.check({"message", "ordr"})
    assert free.reads() == {("message",): 5, ("order",): 6, ("order", "id"): 6}


def test_what_is_missing_in_a_partial_names_the_partial_and_its_line() -> None:
    prompt = Prompt.parse("a/b", "", "# user\nx\n{% include 'refund/_tone.md' %}", partials=[partial("y\n\n{{ absent }}")])
    with pytest.raises(PromptError, match=r"^prompts/refund/_tone\.md:3: 'absent' is undefined"):
        render(prompt, {})


def test_a_partial_is_no_prompt(tmp_path: Path) -> None:
    write(tmp_path, "refund/_tone", "Be brief.")
    with pytest.raises(PromptError, match="begins with '_' is a partial"):
        find(tmp_path, "refund/_tone")
    with pytest.raises(PromptError, match="The folder holds no prompts"):
        find(tmp_path, "refund/tone")


# --- malformed ----------------------------------------------------------------------------------------------------------------

FRONT = "---\n{}\n---\n# user\nx"
MALFORMED = [
    ("", r"a/b\.md:1: no section '# user'"),
    ("# system\nx", "no section '# user'"),
    ("hello\n# user\nx", r":1: text outside of a section"),
    ("# user\nx\n\n# system\n# user\ny", r":5: a second section '# user'; the first is on line 1"),
    ("# user\nx\n# sytem\ny", r":3: unknown section '# sytem'\. Did you mean '# system'\?"),
    ("---\nmodel: x\n# user\nx", r":1: the front matter opened by '---' is never closed"),
    (FRONT.format("temprature: 1"), r":2: unknown key 'temprature'; known are .*Did you mean 'temperature'\?"),
    (FRONT.format("model: x\ntemperature: hot"), ":3: temperature: "),
    (FRONT.format("temperature: 3"), ":2: temperature: .*less than or equal to 2"),
    (FRONT.format("max_tokens: 0"), ":2: max_tokens: "),
    (FRONT.format("window: 63"), ":2: window: .*greater than or equal to 64"),
    (FRONT.format("weight: -1"), ":2: weight: "),
    (FRONT.format("weight: true"), ":2: weight: "),
    (FRONT.format("model: x\nmodel: y"), ":3: the key 'model' stands here a second time"),
    (FRONT.format('model: ""'), ":2: model: .*name a model as provider/model, or several in a list"),
    (FRONT.format("model: [a/b, 7]"), ":2: model: .*name a model"),
    (FRONT.format("model: [a/b, ' ']"), ":2: model: .*name a model"),
    (FRONT.format("model: 'a\0'"), ":2: holds a NUL character"),
    (FRONT.format("window: " + "9" * 5_000), ":1: front matter is not YAML"),
    (FRONT.format("otherwise: &a {intent: x, again: *a}"), ":2: front matter.otherwise"),
    ("# user\n" + "x" * 300_000, "over 256 KiB, which is no prompt"),
    (FRONT.format("model: [x"), r":\d: front matter is not YAML"),
    (FRONT.format("model: !!python/object:os.system x"), ":2: front matter is not YAML: could not determine a constructor"),
    (FRONT.format("just a text"), "front matter is not a mapping"),
    (FRONT.format("otherwise: {intent: x, day: 2026-01-01}"), "date is not JSON; quote it"),
    (FRONT.format("examples:\n  - when: x\n    reply: {intent: a}"), ":2: examples need 'otherwise'"),
    (
        FRONT.format("otherwise: {intent: a}\nexamples:\n  - when: x\n    reply: {reason: a}"),
        ":5: examples: a reply names its 'intent'",
    ),
    (FRONT.format("otherwise: {intent: no}"), ":2: otherwise: a reply names its 'intent', as text"),
    (FRONT.format("otherwise: {intent: a}\nexamples:\n  - wen: x\n    reply: {intent: a}"), r":\d: .*wen|when"),
    (FRONT.format("otherwise: {intent: a}\nexamples:\n  - when: 3\n    reply: {intent: a}"), r":4: examples\.0\.when"),
    (FRONT.format("a: &a [x,x]\nb: &b [*a,*a,*a]\n" + "c: [*b,*b,*b]\n" * 1), "unknown key 'a'"),
    (FRONT.format("otherwise: " + "[" * 3_000), r":\d: front matter|nested deeper"),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED)
def test_a_malformed_file_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        Prompt.parse("a/b", "", text)
    assert str(caught.value).startswith("prompts/a/b.md:")


# --- variables ----------------------------------------------------------------------------------------------------------------

AVAILABLE = {"message", "order", "window", "choices", "memory"}


def checked(text: str, intents: set[str] | None = None) -> None:
    Prompt.parse("a/b", "", text).check(AVAILABLE, intents)


def test_an_unknown_variable_is_found_before_anything_renders() -> None:
    Prompt.parse("a/b", "", TRIAGE).check(AVAILABLE, {"issue_refund", "escalate"})
    with pytest.raises(PromptError, match=r"prompts/a/b\.md:4: uses 'mesage', which is not one of .*Did you mean 'message'\?"):
        checked("# system\nx\n# user\n{{ mesage.x }}")
    with pytest.raises(PromptError, match=":5: uses 'ordr'"):
        checked("# user\n\n\nx\n{% if ordr %}y{% endif %}")
    checked("# user\n{% for item in order %}{{ loop.index }} {{ item }}{% endfor %}{% set x = message %}{{ x }} {{ range(3) }}")


def test_where_a_file_declares_its_variables_they_are_the_only_ones() -> None:
    with pytest.raises(PromptError, match=r":5: uses 'order', which is not in the file's 'variables'"):
        checked("---\nvariables: [message]\n---\n# user\n{{ order }} {{ message }}")
    with pytest.raises(PromptError, match=r"declares the variable 'mesage', which is not one of .*Did you mean 'message'\?"):
        checked("---\nvariables: [mesage]\n---\n# user\nx")


def test_a_template_that_is_none_is_found_with_its_line() -> None:
    for text, words in {
        "{{ message": "unexpected end",
        "{% if message %}": "Unexpected end",
        "{{ message | upcase }}": "No filter named 'upcase'",
        "{{ message | random }}": "No filter named 'random'",
        "{{ message is odder }}": "No test named 'odder'",
    }.items():
        with pytest.raises(PromptError, match=rf"prompts/a/b\.md:3: {words}"):
            checked(f"# user\nx\n{text}")


def test_a_template_that_python_cannot_compile_is_found_by_the_check() -> None:
    for text in (
        "{% for x in [1] %}" * 30 + "x" + "{% endfor %}" * 30,
        "{% if message %}" * 200 + "x" + "{% endif %}" * 200,
        "{{ " + "(" * 3_000 + "1" + ")" * 3_000 + " }}",
    ):
        with pytest.raises(PromptError, match=r"prompts/a/b\.md:2: nested too deeply"):
            checked(f"# user\n{text}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{% for i in range(1000000000) %}x{% endfor %}", "Range too big"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "more than 100,000 rounds"),
        ("{% macro a(n) %}{% if n %}{{ a(n-1) }}{{ a(n-1) }}{% endif %}{% endmacro %}{{ a(40) }}", "more than 100,000 rounds"),
        (
            "{% set n = namespace(x='x' * 99) %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "4,194,304 characters",
        ),
        ("{{ 'x' * 3000000000 }}", "4,194,304 characters"),
        ("{{ [1] * 3000000000 }}", "4,194,304 characters"),
        ("{{ '%3000000000d' % 1 }}", "4,194,304 characters"),
        ("{{ 10 ** (10 ** 9) }}", "a power of more than 1,000"),
        ("{% for i in range(99) %}{{ 'x' * 99999 }}{% endfor %}", "4,194,304 characters"),
    ],
)
def test_a_template_comes_to_an_end(text: str, words: str) -> None:
    with pytest.raises(PromptError, match=rf":3: .*{words}"):
        told(f"\n{text}")


def test_loops_are_what_they_are_in_jinja() -> None:
    text = "{% for i in [3, 4] %}{{ loop.index }}/{{ loop.length }}:{{ i * 2 }}{{ '' if loop.last else ',' }}{% else %}none{% endfor %}"
    assert told(text) == "1/2:6,2/2:8"
    assert (
        told("{% for i in [] %}x{% else %}none{% endfor %} {{ 'a' ~ (1 + 1) }} {{ '%.2f' % 0.5 }} {{ 2 ** 10 }}")
        == "none a2 0.50 1024"
    )


def test_examples_are_checked_too() -> None:
    front = "---\notherwise: {intent: escalate}\nexamples:\n  - when: x\n    reply: {intent: %s, id: '{{ %s }}'}\n---\n# user\nx"
    checked(front % ("refund", "order.id + numbers[0]"), {"refund", "escalate"})
    with pytest.raises(PromptError, match=r":4: an example replies 'refnd', which is not one of .*Did you mean 'refund'\?"):
        checked(front % ("refnd", "order"), {"refund", "escalate"})
    with pytest.raises(PromptError, match=":4: an example's reply uses 'oder'"):
        checked(front % ("refund", "oder"))
    with pytest.raises(PromptError, match=":1: an example replies 'escalate'"):
        checked(front % ("refund", "order"), {"refund"})


# --- rendering ----------------------------------------------------------------------------------------------------------------


def test_a_prompt_renders_to_its_messages() -> None:
    prompt = Prompt.parse("refund/triage", "", TRIAGE)
    order = {"id": 1042, "lines": [{"sku": "LAMP"}]}
    assert render(prompt, {"message": "Broken", "order": order, "choices": "- a\n- b", "unused": 1}) == [
        Message("system", "You decide.\n- a\n- b"),
        Message(
            "user",
            "Order: {id: 1042, lines: [{sku: LAMP}]}\n\n```\n# user\n```\n# Usage is a heading of the text\nBroken",
        ),
        Message("assistant", "I see."),
    ]


def test_values_are_shown_as_people_would_write_them() -> None:
    class Order(BaseModel):
        id: int
        note: str | None = None

    assert told("{{ a }} {{ b }} {{ c }} {{ d }} {{ e }}", a=None, b=True, c=1.50, d="x <b>", e=[]) == "null true 1.5 x <b> []"
    assert told("{{ order }} {{ order.id }} {{ orders }}", order=Order(id=1), orders=[Order(id=2)]) == (
        "{id: 1, note: null} 1 [{id: 2, note: null}]"
    )


def test_a_field_called_like_a_method_is_the_field() -> None:
    assert told(
        "{{ order.items }} {% for k, v in rest.items() %}{{ k }}={{ v }} {% endfor %}", order={"items": [1, 2]}, rest={"a": 1}
    ) == ("[1, 2] a=1 ")


def test_what_is_missing_at_rendering_is_an_error_with_its_line() -> None:
    for text, words in {
        "{{ order.refundabel }}": "there is no field 'refundabel': it is not one of id, refundable. Did you mean 'refundable'?",
        "{{ nothing.id }}": "'None' has no attribute 'id'",
        "{{ absent }}": "'absent' is undefined",
        "{{ order.id + 'x' }}": "unsupported operand",
        "{{ 1 // 0 }}": "division or modulo by zero",
        "{{ ''.__class__.__mro__ }}": "unsafe",
        "{{ [].append(1) }}": "unsafe",
    }.items():
        prompt = Prompt.parse("a/b", "", f"# system\nx\n# user\n{text}")
        with pytest.raises(PromptError, match=rf"^prompts/a/b\.md:4: .*{re.escape(words)}"):
            render(prompt, {"order": {"id": 1, "refundable": 2}, "nothing": None})
    with pytest.raises(PromptError, match=r"prompts/a/b\.md:6: "):
        told("a\nb\nc\n\n{{ absent }}")
    with pytest.raises(PromptError, match=rf"more than {LONGEST:,} characters"):
        told("{{ said }}{{ said }}", said="x" * (LONGEST // 2 + 1))


def test_text_of_others_is_never_a_template() -> None:
    assert told("{{ message }}", message="{{ 7 * 7 }} {% raw %} # system") == "{{ 7 * 7 }} {% raw %} # system"


def test_a_reply_is_filled_with_the_runs_own_values() -> None:
    variables = {"order": {"id": 1042, "refundable": 45.5, "note": None}, "numbers": [7]}
    reply: Json = {
        "a": "{{ order.id }}",
        "b": ["{{ order.refundable - 5 }}"],
        "c": "No. {{ numbers[0] }}!",
        "d": 3,
        "e": "{{ order.note }}",
    }
    assert fill(reply, variables) == {"a": 1042, "b": [40.5], "c": "No. 7!", "d": 3, "e": None}
    assert fill("{{ order }}", variables) == variables["order"]
    for missing in ("{{ order.x }}", "{{ absent }}", "a {{ absent }}", "{{ order. }}", "{{ numbers[5] }}", "{{ (1).__class__ }}"):
        with pytest.raises(PromptError, match="here: "):
            fill(missing, variables, "here")


def test_rendering_costs_tens_of_microseconds() -> None:
    prompt = Prompt.parse("refund/triage", "", TRIAGE)
    variables = {"message": "Broken", "order": {"id": 1042, "refundable": 45.5}, "choices": "- a"}
    render(prompt, variables)
    rounds: list[float] = []
    for _ in range(200):
        start = perf_counter()
        render(prompt, variables)
        rounds.append(perf_counter() - start)
    assert min(rounds) < 200e-6


# --- variants -----------------------------------------------------------------------------------------------------------------


def test_a_run_keeps_its_variant_and_weights_divide_the_runs() -> None:
    variants = [
        Prompt.parse("a/b", name, f"---\nweight: {weight}\n---\n# user\n{name}") for name, weight in (("", 3), ("b", 1), ("c", 0))
    ]
    chosen = [choose(variants, f"run-{n}").variant for n in range(4_000)]
    assert chosen == [choose(variants[::-1], f"run-{n}").variant for n in range(4_000)]
    assert 2_850 < chosen.count("") < 3_150
    assert chosen.count("") + chosen.count("b") == 4_000
    other = [Prompt.parse("a/c", name, f"---\nweight: {weight}\n---\n# user\n{name}") for name, weight in (("", 3), ("b", 1))]
    together = sum(choose(other, f"run-{n}").variant == chosen[n] == "b" for n in range(4_000))
    assert 150 < together < 350  # independent: a sixteenth, not a quarter
    assert choose(variants[2:], "run-1") is variants[2]


# --- values as text -----------------------------------------------------------------------------------------------------------


def test_a_shadow_is_never_chosen_and_what_is_pinned_always_is() -> None:
    a = Prompt.parse("x/y", "", "# user\na")
    b = Prompt.parse("x/y", "b", "---\nweight: 0\n---\n# user\nb")
    dark = Prompt.parse("x/y", "dark", "---\nshadow: true\nweight: 9\n---\n# user\nc")
    runs = [f"run_{n}" for n in range(50)]
    assert {choose([a, b, dark], run).variant for run in runs} == {""}
    assert {choose([a, b, dark], run, "b").variant for run in runs} == {"b"}
    assert {choose([a, b, dark], run, "dark").variant for run in runs} == {""}
    assert {choose([a, b, dark], run, "gone").variant for run in runs} == {""}
    assert {choose([dark, a], run).variant for run in runs} == {""}


def test_short_values_stand_in_one_line_and_long_ones_in_several() -> None:
    order: Object = {
        "id": 1042,
        "status": "delivered",
        "tags": ["a", "b, c"],
        "note": 'say: "no" # really',
        "none": None,
        "empty": {},
    }
    assert readable(order, inline=0) == (
        'id: 1042\nstatus: delivered\ntags: [a, "b, c"]\nnote: "say: \\"no\\" # really"\nnone: null\nempty: {}'
    )
    assert readable({"lines": [{"sku": "LAMP", "text": "two\nlines"}, [1, 2]]}) == (
        "lines:\n  - sku: LAMP\n    text: |-\n      two\n      lines\n  - [1, 2]"
    )
    assert readable(["x" * 90, "1042", "true", "", " a", "a ", "-", "é", "a:b", "a: b"]) == (
        f'- {"x" * 90}\n- "1042"\n- "true"\n- ""\n- " a"\n- "a "\n- "-"\n- é\n- a:b\n- "a: b"'
    )


def test_what_cannot_be_seen_is_escaped() -> None:
    assert readable("a\u202eb\u200b\x1b[31m") == '"a\\U0000202eb\\U0000200b\\u001b[31m"'


VISIBLE = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | VISIBLE
    | st.sampled_from(["yes", "null", "1e3", "- a", "a\nb", "\n", "a\n "]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(VISIBLE, inner, max_size=4),
    max_leaves=15,
)


@given(VALUES, st.text(st.sampled_from("ab \n\t#"), max_size=6), st.text(st.sampled_from("ab \n\t"), max_size=6))
def test_names_and_text_alone_are_what_jinja_makes_of_them(value: object, before: str, after: str) -> None:
    plain, asked = f"x{before}{{{{ a }}}}{after}", f"x{before}{{{{ a if 1 }}}}{after}"
    assert rendered(plain, {"a": value}, "a.md") == rendered(asked, {"a": value}, "a.md")


@given(VALUES, st.sampled_from([0, 20, 80]))
def test_what_is_shown_reads_back_as_the_same_value(value: object, inline: int) -> None:
    shown = readable(cast("Object", value), inline=inline)
    assert yaml.safe_load(shown) == value
    assert all(line.isprintable() for line in shown.split("\n"))
