"""A rule as a host's command line or environment names it: `pepo`, `pepo alpha=0.1 temperature=1.8`."""

import ast
from dataclasses import fields

from credit_zoo.errors import UsageError, unknown
from credit_zoo.objective import Shaper
from credit_zoo.registry import SHAPERS


def rule_of(text: str) -> Shaper:
    """The rule of a name and settings, in words. Raises `UsageError` for a word that is not there or is no value."""
    name, *words = text.split() or [""]
    factory = SHAPERS[name].factory
    known, settings = [one.name for one in fields(factory)], {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"after the rule's name come settings as NAME=VALUE, got '{word}' in '{text}'")
        if key not in known:
            raise unknown(f"setting of '{name}'", key, known)
        try:
            settings[key] = float("inf") if value == "inf" else ast.literal_eval(value.capitalize())
        except (ValueError, SyntaxError):
            raise UsageError(f"{name}.{key} takes a number, true or false, got '{value}'") from None
    made: Shaper = factory(**settings)
    return made
