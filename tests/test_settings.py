"""Words to typed values: what each type of field takes, and how the rest is refused."""

from dataclasses import dataclass
from typing import Literal, Optional

import pytest

from credit_zoo.cli.settings import coerce, from_arguments, setting
from credit_zoo.errors import UsageError


@dataclass(frozen=True)
class Every:
    """One field of each type that settings have."""

    whole: int = 1
    number: float = 0.5
    flag: bool = False
    text: str = "a"
    choice: Literal["linear", "none"] = "none"
    maybe_whole: int | None = None
    maybe_number: Optional[float] = None  # noqa: UP045 - both spellings are found in the wild
    maybe_choice: Literal["one", "two"] | None = None
    wholes: tuple[int, ...] = (1, 2)
    numbers: tuple[float, ...] = ()
    words: tuple[str, ...] = ("a",)
    pair: tuple[int, float] = (1, 0.5)
    maybe_wholes: tuple[int, ...] | None = None
    size: Literal[1, 2, 4] = 1
    share: float | Literal["all"] = "all"
    mapping: dict[str, int] | None = None
    listed: list[int] | None = None
    untyped: tuple = ()


@dataclass(frozen=True)
class Nothing:
    """No settings."""


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("whole", "3", 3),
        ("whole", "-3", -3),
        ("whole", "1_000", 1000),
        ("number", "3", 3.0),
        ("number", "1e-6", 1e-6),
        ("number", "inf", float("inf")),
        ("number", "-inf", float("-inf")),
        ("flag", "true", True),
        ("flag", "False", False),
        ("text", "3", "3"),
        ("text", "none", "none"),
        ("text", "a b=c", "a b=c"),
        ("choice", "linear", "linear"),
        ("choice", "none", "none"),
        ("maybe_whole", "none", None),
        ("maybe_whole", "None", None),
        ("maybe_whole", "4", 4),
        ("maybe_number", "none", None),
        ("maybe_number", "4", 4.0),
        ("maybe_choice", "two", "two"),
        ("maybe_choice", "none", None),
        ("wholes", "3", (3,)),
        ("wholes", "3,4", (3, 4)),
        ("wholes", "(3, 4)", (3, 4)),
        ("wholes", "[3,4,]", (3, 4)),
        ("wholes", "()", ()),
        ("numbers", "3,1e-6,inf", (3.0, 1e-6, float("inf"))),
        ("words", "a b,none", ("a b", "none")),
        ("pair", "2,3", (2, 3.0)),
        ("maybe_wholes", "none", None),
        ("maybe_wholes", "5", (5,)),
        ("size", "4", 4),
        ("share", "all", "all"),
        ("share", "0.5", 0.5),
    ],
)
def test_a_text_becomes_a_value_of_its_fields_type(name, text, value):
    found = coerce(Every, "every", name, text)
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, tuple):
        assert [type(part) for part in found] == [type(part) for part in value]


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("whole", "1.5", "a whole number"),
        ("whole", "1e3", "a whole number"),
        ("whole", "true", "a whole number"),
        ("whole", "none", "a whole number"),
        ("number", "much", "a number"),
        ("number", "1,5", "a number"),
        ("number", "nan", "a number"),
        ("number", "none", "a number"),
        ("flag", "1", "true or false"),
        ("flag", "yes", "true or false"),
        ("choice", "Linear", "one of linear, none"),
        ("maybe_whole", "1.5", "a whole number or none"),
        ("maybe_number", "nan", "a number or none"),
        ("maybe_choice", "three", "one of one, two or none"),
        ("wholes", "1.5", "values with commas between, each a whole number"),
        ("wholes", "1,,2", "values with commas between, each a whole number"),
        ("wholes", "(1", "values with commas between, each a whole number"),
        ("numbers", "1,nan", "values with commas between, each a number"),
        ("pair", "1", "a whole number, a number, with commas"),
        ("pair", "1,2,3", "a whole number, a number, with commas"),
        ("size", "3", "one of 1, 2, 4"),
        ("share", "some", "a number or one of all"),
    ],
)
def test_a_text_of_another_type_is_refused_by_name_with_what_is_wanted(name, text, wanted):
    with pytest.raises(UsageError) as error:
        coerce(Every, "every", name, text)
    assert str(error.value) == f"every.{name} must be {wanted}, got '{text}'"


@pytest.mark.parametrize("name", ["mapping", "listed", "untyped"])
def test_a_field_of_a_type_that_no_text_stands_for_is_refused_rather_than_handed_the_text(name):
    with pytest.raises(UsageError, match=rf"every\.{name} cannot be typed: its type is "):
        coerce(Every, "every", name, "1")


def test_an_unknown_setting_is_answered_with_the_nearest_and_the_list():
    with pytest.raises(
        UsageError, match=r"no setting of 'every' named 'numbr'\. Did you mean 'number'\? There are: choice,"
    ):
        coerce(Every, "every", "numbr", "1")


def test_a_thing_without_settings_says_so():
    with pytest.raises(UsageError, match="'nothing' has no settings"):
        setting(Nothing, "nothing", "alpha")


def test_a_setting_is_the_field_of_its_name():
    assert setting(Every, "every", "whole").default == 1


def test_words_make_an_instance_and_the_others_keep_their_defaults():
    assert from_arguments(Every, []) == Every()
    assert from_arguments(Every, ["whole=2", "flag=true", "text=a=b"]) == Every(whole=2, flag=True, text="a=b")


def test_a_word_without_a_value_is_refused():
    with pytest.raises(UsageError, match="'whole' is not of the form SETTING=VALUE"):
        from_arguments(Every, ["whole"])


def test_a_word_of_the_wrong_type_names_the_class_and_the_setting():
    with pytest.raises(UsageError, match=r"every\.whole must be a whole number, got 'x'"):
        from_arguments(Every, ["whole=x"])
