"""A rule as a host's command line or environment names it: `pepo`, `pepo alpha=0.1 temperature=1.8`."""

from credit_zoo.cli import coerce
from credit_zoo.errors import UsageError
from credit_zoo.objective import Shaper
from credit_zoo.registry import SHAPERS


def rule_of(text: str) -> Shaper:
    """The rule of a name and settings, in words. Raises `UsageError` for a word that is not there or is no value."""
    name, *words = text.split() or [""]
    factory, settings = SHAPERS[name].factory, {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"after the rule's name come settings as NAME=VALUE, got '{word}' in '{text}'")
        settings[key] = coerce(factory, name, key, value)
    made: Shaper = factory(**settings)
    return made
