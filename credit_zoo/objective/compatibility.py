"""What goes with what: whether a base lets a rule's credit through, and whether the rule then is what it says it is.

`refusal` is the one place that decides; a run that it refuses does not start, and the table in the documentation is
made from it.
"""

from dataclasses import dataclass

from credit_zoo.facts import PieceFacts, ShaperFacts
from credit_zoo.objective.base import Base
from credit_zoo.registry import PIECES, SHAPERS

UNIFORM = "uniform"


@dataclass(frozen=True)
class Budget:
    """What a run does with each prompt and each rollout: answers to a prompt, and optimizer steps on them."""

    group: int
    updates: int


def refusal(shaper: str, base: Base, budget: Budget) -> str | None:
    """One sentence that names rule and piece and says what to do; None where they go together."""
    rule = SHAPERS[shaper].facts
    for check in (_erased, _one_sided, _without_updates, _without_group):
        said = check(shaper, rule, base, budget)
        if said is not None:
            return said
    return None


def _pieces(base: Base) -> tuple[tuple[str, str, PieceFacts], ...]:
    """Slot, name and facts of each piece."""
    entries = {slot: registry.of(getattr(base, slot)) for slot, registry in PIECES.items()}
    return tuple((slot, entry.name, entry.facts) for slot, entry in entries.items())


def _name(base: Base, slot: str) -> str:
    return PIECES[slot].of(getattr(base, slot)).name


def _erased(shaper: str, rule: ShaperFacts, base: Base, budget: Budget) -> str | None:
    """A piece under which all tokens of a response move alike leaves nothing of a rule but its mean."""
    for slot, name, facts in _pieces(base):
        if not facts.keeps_token_credit and shaper != UNIFORM:
            others = [other for other in PIECES[slot] if PIECES[slot][other].facts.keeps_token_credit]
            return (
                f"shaper={shaper} tells tokens apart and base.{slot}={name} moves all tokens of a response alike: take "
                f"one of {', '.join(others)} as base.{slot}, or shaper={UNIFORM}"
            )
    return None


def _one_sided(shaper: str, rule: ShaperFacts, base: Base, budget: Budget) -> str | None:
    """Where a whole response is clipped, by sign, credit of both signs would be cut to that of one. On the first update
    nothing is clipped.
    """
    for slot, name, facts in _pieces(base):
        if facts.one_verdict and not rule.preserves_sign and budget.updates > 1:
            others = [other for other in PIECES[slot] if not PIECES[slot][other].facts.one_verdict]
            return (
                f"shaper={shaper} may give tokens of one response credit of both signs, and after the first update "
                f"base.{slot}={name} clips those of one sign in all of it, so that the others alone would be learnt: "
                f"set train.updates=1, or take {' or '.join(others)} as base.{slot}"
            )
    return None


def _without_updates(shaper: str, rule: ShaperFacts, base: Base, budget: Budget) -> str | None:
    """A rule that follows the ratio sees 1 everywhere on the first update."""
    if rule.stage == "update" and budget.updates == 1:
        return (
            f"shaper={shaper} follows how far tokens moved since they were sampled, and with train.updates=1 under "
            f"base.ratio={_name(base, 'ratio')} none has: set train.updates to 2 or more"
        )
    return None


def _without_group(shaper: str, rule: ShaperFacts, base: Base, budget: Budget) -> str | None:
    """A rule that compares the answers to a prompt needs two of them."""
    if rule.scope == "group" and budget.group == 1:
        return (
            f"shaper={shaper} compares the answers to a prompt, and with sampling.group=1 under "
            f"base.estimator={_name(base, 'estimator')} there is one: set sampling.group to 2 or more"
        )
    return None
