"""Two hashes of a schema: the contract, which blocks runs, and the text, which is only shown as changed."""

from decimal import Decimal
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from leverframe.canon import Object
from leverframe.errors import DeclarationError
from leverframe.schema import contract, inlined, schema_of, text, violation


class Money(BaseModel):
    amount: Decimal = Field(gt=0, description="In euros.")
    currency: Literal["EUR"] = "EUR"


class Order(BaseModel):
    title: str
    price: Money
    kind: Literal["a", "b"] = "a"


class Reworded(BaseModel):
    """The same in other words, another order and with other defaults."""

    model_config = ConfigDict(title="Other")

    kind: Literal["a", "b"] = Field(default="b", description="Which one.")
    price: Money = Field(title="The price")
    title: str = Field(examples=["lamp"])


class Wider(Reworded):
    kind: Literal["a", "b", "c"] = "a"  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]


class Untitled(BaseModel):
    price: Money
    kind: Literal["a", "b"] = "a"


class Tree(BaseModel):
    children: "list[Tree]"


def test_words_order_and_defaults_change_the_text_and_not_the_contract() -> None:
    was, now = schema_of(Order), schema_of(Reworded)
    assert contract(was) == contract(now)
    assert text(was) != text(now)


@pytest.mark.parametrize("other", [Wider, Untitled])
def test_another_value_or_field_changes_the_contract(other: type[BaseModel]) -> None:
    assert contract(schema_of(Order)) != contract(schema_of(other))


def test_a_property_may_be_called_as_a_keyword_is() -> None:
    with_title: Object = {"type": "object", "properties": {"title": {"type": "string"}, "default": {"type": "string"}}}
    assert contract(with_title) != contract({"type": "object", "properties": {}})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"const": "a"}, {"enum": ["a"]}),
        ({"const": "a", "type": "string"}, {"enum": ["a"], "type": "string", "title": "A"}),
        ({"oneOf": [{"type": "string"}], "discriminator": {}}, {"anyOf": [{"type": "string"}]}),
        ({"required": ["b", "a"]}, {"required": ["a", "b"]}),
        ({"items": {"description": "x", "type": "string"}}, {"items": {"type": "string"}}),
    ],
)
def test_what_versions_of_pydantic_write_differently_is_one_contract(one: Object, other: Object) -> None:
    assert contract(one) == contract(other)


def test_this_contract_is_the_same_on_every_version_of_pydantic() -> None:
    assert contract(schema_of(Order)) == "d9308b53d67648f8c50ac05a7608a2c5e3a5a671b14159379b3b18bd2fe9d5ba"


def test_references_are_inlined_and_a_schema_that_contains_itself_is_refused() -> None:
    assert "$ref" not in str(schema_of(Order))
    assert "$defs" not in str(schema_of(Order))
    with pytest.raises(DeclarationError, match=r"schema Tree contains itself; .* flatten it or bound its depth"):
        schema_of(Tree)
    with pytest.raises(DeclarationError, match="refers to '#/\\$defs/Gone', which it does not define"):
        inlined({"$ref": "#/$defs/Gone"})


def test_a_decimal_is_a_number_with_its_bounds_and_no_pattern() -> None:
    assert schema_of(Annotated[Decimal, Field(gt=0, le=500, multiple_of=0.5)]) == {
        "type": "number",
        "exclusiveMinimum": 0.0,
        "maximum": 500.0,
        "multipleOf": 0.5,
    }


def test_a_violation_names_the_place_and_never_the_value() -> None:
    schema: Object = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 5}}}
    assert violation({"n": 5}, schema) is None
    said = violation({"n": "secret-4711"}, schema) or ""
    assert said.startswith("$.n: ")
    assert "secret" not in said


class Login(BaseModel):
    user: str
    tokens: list[SecretStr] | None = None


class Account(BaseModel):
    login: Login


def test_a_secret_is_refused_by_its_path_for_it_would_be_stored_as_asterisks() -> None:
    with pytest.raises(DeclarationError, match=r"^Account\.login\.tokens: is a secret, .* keep the name of the secret"):
        schema_of(Account)
    assert schema_of(Order)
