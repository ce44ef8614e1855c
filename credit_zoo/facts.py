"""What registered classes declare about themselves, and is held against them by tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from credit_zoo.errors import UsageError

SCOPES = ("response", "group", "batch")  # from the narrowest to the widest
TRUTH_PREFIX = "truth_"
VIEW_PREFIX = "view_"
UPDATE_SIGNAL = "log_ratio"


@dataclass(frozen=True)
class ShaperFacts:
    """What a shaper declares about itself; the contract tests hold it to every promise.

    `needs` names signals of `types.SIGNALS`. `scope` "response": a row's result depends on that row alone; "group": on
    the answers to the same prompt, which are never split; "batch": on all rows of the step, over all processes.
    `stage` "update": it reads `log_ratio`, and so is called anew in every update on the rollouts, one micro-batch at a
    time. `control`: a null or an oracle, never ranked as a method; only such a one may need what the twin alone knows
    (`truth_...`). `preserves_mean`: the mean of the token advantages over the valid tokens is the response's advantage.
    `preserves_sign`: no token gets the opposite sign. `reduces_to`: (shaper, settings of this one) under which both
    give the same result.
    """

    paper: str
    reference: str = ""
    needs: tuple[str, ...] = ()
    scope: Literal["response", "group", "batch"] = "response"
    stage: Literal["rollout", "update"] = "rollout"
    control: bool = False
    preserves_mean: bool = False
    preserves_sign: bool = False
    reduces_to: tuple[str, Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise UsageError(f"a shaper's scope must be one of {', '.join(SCOPES)}, got '{self.scope}'")
        if self.stage not in ("rollout", "update"):
            raise UsageError(f"a shaper's stage must be 'rollout' or 'update', got '{self.stage}'")
        if (UPDATE_SIGNAL in self.needs) != (self.stage == "update") or (
            self.stage == "update" and self.scope != "response"
        ):
            raise UsageError(
                f"a shaper reads '{UPDATE_SIGNAL}' exactly if its stage is 'update', and its scope is 'response' then"
            )
        if self.truth and not self.control:
            raise UsageError(
                f"only a control may need {', '.join(self.truth)}, which no real set can tell: declare control=True"
            )

    @property
    def truth(self) -> tuple[str, ...]:
        """The needs that a twin alone can meet."""
        return tuple(name for name in self.needs if name.startswith(TRUTH_PREFIX))

    @property
    def views(self) -> tuple[str, ...]:
        """The needs that a pass over a degraded picture meets."""
        return tuple(name for name in self.needs if name.startswith(VIEW_PREFIX))

    @property
    def measured(self) -> tuple[str, ...]:
        """The needs that a pass of the policy over the responses meets."""
        return tuple(name for name in self.needs if name != UPDATE_SIGNAL and name not in self.truth)


@dataclass(frozen=True)
class BenchFacts:
    """What a benchmark declares: `version` rises when any score can change; `headline` names the one metric;
    `trains_on` is the benchmark whose train split a policy is trained on before it is measured here, this one itself
    unless another is named; `own_split` says that the set has no official test split: a model that was not trained
    here is measured on all of it; `boxes` that answers are boxes, whose overlap can be paid.
    """

    version: int = 1
    headline: str = "avg@8 accuracy"
    trains_on: str = ""  # the registry fills in the benchmark's own name
    own_split: bool = False
    boxes: bool = False
    licence: str = ""
    source: str = ""


@dataclass(frozen=True)
class PieceFacts:
    """A piece of a base: where its formula comes from, and what it does to a rule's credit.

    `keeps_token_credit`: tokens of a response that were given unequal advantages are moved unequally. `one_verdict`: a
    response is inside or outside of the clip range as a whole, so that of its tokens those of one sign alone go on
    learning. `scope` "batch": it must see all rows of the step, over all processes, before the first gradient.
    """

    paper: str = ""
    keeps_token_credit: bool = True
    one_verdict: bool = False
    scope: Literal["response", "group", "batch"] = "response"

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise UsageError(f"a piece's scope must be one of {', '.join(SCOPES)}, got '{self.scope}'")


@dataclass(frozen=True)
class CombinationFacts:
    """How many rules a combination takes, from and to, and whether it makes a control of them."""

    least: int = 1
    most: int = 1
    control: bool = False
