"""Whom a typed setting belongs to: a rule, a benchmark, a piece of a base, or a group of settings."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from credit_zoo.errors import UsageError
from credit_zoo.registry import BENCHMARKS, SHAPERS, VIEWS, Registry
from credit_zoo.registry import PIECES as PIECES

if TYPE_CHECKING:
    from credit_zoo.objective import Base, Shaper

# Every setting that takes a registered piece by its name.
SLOTS: Mapping[tuple[str, str], Registry[Any]] = {
    **{("base", slot): registry for slot, registry in PIECES.items()},
    ("train", "view"): VIEWS,
}
TRAINING_GROUPS = ("train", "base", "reward", "sampling", "parallel", "checkpoint")


def is_of_a_bench(thing: str, key: str) -> bool:
    """Whether a setting is a benchmark's; a rule and a benchmark of one name may not both have it."""
    if thing not in BENCHMARKS or thing not in SHAPERS:
        return thing in BENCHMARKS
    rule, bench = ({field.name for field in fields(registry[thing].factory)} for registry in (SHAPERS, BENCHMARKS))
    if key in rule & bench:
        raise UsageError(
            f"{thing}.{key} may be the shaper's or the bench's, for both are named '{thing}': rename one of the two"
        )
    return key not in rule


def looks_at_a_view(shaper: "Shaper", base: "Base") -> bool:
    """Whether a rule or a base compares the policy with what it says of a degraded picture."""
    return bool(SHAPERS.of(shaper).facts.views or base.measured)


def chooses_layers(shaper: "Shaper") -> bool:
    """Whether a rule takes the visual similarity whose layers can be chosen."""
    return "visual_similarity" in SHAPERS.of(shaper).facts.needs
