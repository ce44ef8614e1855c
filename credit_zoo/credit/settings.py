"""What the instrument is asked to measure."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from credit_zoo.errors import UsageError, check_range
from credit_zoo.facts import ShaperFacts
from credit_zoo.registry import AGGREGATIONS, ESTIMATORS, SHAPERS
from credit_zoo.rule_names import canonical, parts_of

REFERENCE = "uniform"
# What no kept file depends on: where files go, how much is done now. Which policy it is, its weights tell.
_BESIDE = ("model", "out", "work", "shapers", "nulls", "batches", "minutes", "mc", "mc_responses", "mc_every", "note")


@dataclass(frozen=True)
class Credit:
    """A policy, the questions it answers, the rules, and how much is measured. Everything that is measured is kept
    below `work`, so that the same words again go on where they stopped, and more rules or batches are added to it.
    """

    bench: str = "geometry3k"  # whose questions are asked
    model: str = "small"  # a folder, a hub id, or a shipped one: small, habits, habits_fluent
    shapers: str = "all"  # names separated by commas, combinations among them; all: every rule and control
    nulls: bool = False  # with permuted(rule) for every rule that is ranked
    group: int = 8  # answers to each prompt
    prompts: int = 8  # in a batch
    batches: int = 24  # from which signal and noise are told; at least 4
    reference: int = 16  # batches of uniform alone: the scale of Adam, and the direction where there is no twin
    truth: int = 1024  # questions of the exact gradient
    forced: bool = False  # a twin's solution up to its first read token is given: one token is sampled, and no more
    perception: float = 0.0  # a twin's dial, [0, 1]
    reasoning: float = 0.0  # a twin's dial, [0, 1]
    length: float = 0.0  # a twin's dial of long solutions, [0, 1]; give them room by max_tokens=
    temperature: float = 1.0  # of the softmax, (0, inf)
    max_tokens: int = 56  # of a response
    estimator: str = "grpo"  # of the advantage
    aggregation: str = "seq_mean_token_mean"  # over tokens
    data: str | None = None  # a folder, or hub; none: the benchmark's twin
    split: str = "train"  # of the questions
    style: Literal["short", "paper"] = "short"  # how the form of the answer is asked for
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"  # of the weights
    layers: str = ""  # only parameters whose names hold one of these texts, separated by commas
    numbers: int = 2**17  # of a gradient that are kept, the rest is projected on them; 0: all
    micro_batch: int = 16  # responses read at once; memory and time alone depend on it
    seed: int = 0  # of questions, draws and projection
    minutes: float = 0.0  # after which no further batch is begun; 0: no limit
    truth_by: Literal["solution", "sampling"] = "solution"  # of A*: the closed form, or mc= continuations
    mc: int = 0  # continuations of a prefix, of which its value is the mean; 0: none
    mc_responses: int = 32  # whose prefixes are continued
    mc_every: int = 1  # which prefixes: every n-th
    note: str = ""  # says in tables what the policy is
    out: str = "leaderboard/credit"  # folder of the record
    work: str = "runs/credit"  # folder of what is kept to go on from

    def __post_init__(self) -> None:
        for name in ("group", "prompts", "reference", "truth", "max_tokens", "micro_batch", "mc_responses", "mc_every"):
            check_range(f"credit.{name}", getattr(self, name), 1)
        check_range("credit.batches", self.batches, 4)
        check_range("credit.reference", self.reference, 4)
        check_range("credit.temperature", self.temperature, 0, open_low=True)
        for name in ("numbers", "seed", "minutes", "mc"):
            check_range(f"credit.{name}", getattr(self, name), 0)
        for name in ("perception", "reasoning", "length"):
            check_range(f"credit.{name}", getattr(self, name), 0, 1)
        ESTIMATORS[self.estimator], AGGREGATIONS[self.aggregation]
        if self.forced and self.data is not None:
            raise UsageError("credit.forced=true needs worked solutions, which a twin alone has: leave data= out")
        if self.forced and self.mc:
            raise UsageError("credit.mc must be 0 under forced=true: behind its one token nothing is left to sample")

        if self.truth_by not in ("solution", "sampling"):
            raise UsageError(f"credit.truth_by must be solution or sampling, got {self.truth_by!r}")
        if self.truth_by == "sampling" and (self.mc < 2 or self.data is not None or self.forced):
            raise UsageError(
                "credit.truth_by=sampling gives a twin's controls values by mc= continuations of every prefix: give "
                "mc=16 or another number from 2 on, without data= and forced=true"
            )

    @property
    def compares_values(self) -> bool:
        """Whether some responses get values by continuations beside those of the truth."""
        return self.mc > 0 and self.truth_by == "solution"

    @property
    def setup(self) -> dict[str, Any]:
        """The settings that a number depends on, whichever rules are measured and however much of them."""
        found = {name: value for name, value in asdict(self).items() if name not in _BESIDE}
        # As it was before there was a choice: what is kept stays.
        dropped = [name for name, value in (("truth_by", "solution"), ("length", 0.0)) if found[name] == value]
        sampled = {} if self.truth_by == "solution" else {"mc": self.mc, "mc_every": self.mc_every}
        return {name: value for name, value in found.items() if name not in dropped} | sampled


def rule_names(settings: Credit, twin: bool) -> tuple[str, ...]:
    """The rules to be measured, uniform first. Without a twin, controls that need the truth are left out of `all`, and
    refused by name.
    """
    named = settings.shapers == "all"
    names = tuple(SHAPERS) if named else tuple(map(canonical, parts_of(f"rules({settings.shapers})")[1]))
    wanted = [name for name in names if not named or twin or not SHAPERS[name].facts.truth]
    for name in wanted:
        if SHAPERS[name].facts.truth and not twin:
            raise UsageError(f"shaper '{name}' needs the truth, which a twin alone can tell: leave data= out")
    if settings.nulls:
        wanted += [f"permuted({name})" for name in wanted if name != REFERENCE and not facts(name).control]
    return tuple(dict.fromkeys((REFERENCE, *wanted)))


def facts(name: str) -> ShaperFacts:
    """What a rule, or a combination of rules, declares."""
    return SHAPERS[name].facts
