"""What the record of a run holds, and which values it may hold.

Everything needed to repeat a run and to compare it. Constructing a record checks every range and that the parts
agree with each other; `credit_zoo.results.store` checks the types of what it reads and writes.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from credit_zoo.errors import UsageError, check_range, check_schema
from credit_zoo.results.identity import Identity as Identity
from credit_zoo.results.identity import Setting
from credit_zoo.results.provenance import Machine, Origin
from credit_zoo.results.weights_record import ROUNDING, check_share
from credit_zoo.results.weights_record import Weights as Weights

SCHEMA = 2
# The fields of `Evaluation` that say what was measured; the others say how it came out.
MEASURE = (
    "bench", "bench_version", "split", "twin", "revision", "metric", "questions", "question_ids", "samples",
    "decoding", "grader", "prompt", "code", "settings",
)  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """A named choice (shaper or base) with all its settings, defaults included. `code` is the digest of its sources
    (`credit_zoo.results.source_digest`), "" where it is not known.
    """

    name: str
    settings: Mapping[str, Setting]
    code: str = ""

    @classmethod
    def of(cls, name: str, instance: Any) -> "Piece":
        """From an instance of its dataclass; JSON has no infinity, so an infinite setting is kept as text."""
        settings = {field.name: getattr(instance, field.name) for field in fields(instance)}
        infinite = {key: str(v) for key, v in settings.items() if isinstance(v, float) and not math.isfinite(v)}
        return cls(name, {**settings, **infinite})


@dataclass(frozen=True)
class Model:
    """`revision` is a commit or a checksum of the weights; `parameters` is their number."""

    name: str
    revision: str
    parameters: int

    def __post_init__(self) -> None:
        check_range("model.parameters", self.parameters, 1)


VIEW = "train.view"  # among a run's settings where its rule or its base looks at one


@dataclass(frozen=True)
class TrainingSource:
    """The questions trained on: `twin` True for the procedural stand-in, `rows` the number of questions.

    An endless twin has 0 rows. `code` is the digest of the benchmark's source, whose score is the reward.
    """

    bench: str
    bench_version: int
    split: str
    twin: bool
    revision: str
    rows: int
    code: str = ""

    def __post_init__(self) -> None:
        check_range("bench_version", self.bench_version, 1)
        check_range("rows", self.rows, 0)


@dataclass(frozen=True)
class Training:
    """What was trained: `settings` are the loop's (learning rate, responses per prompt ...), the same for every rule.

    `tokens` sampled over the run, those that a filter dropped among them: the budget, None where it is not known;
    `counters` such as prompts sampled and kept; `curve` one mapping a logged step, with `step` and whatever was
    measured, `kept_...` what the filter left; `weights` None for a rule without them; `agreement` of every two signals
    that were measured, mean over the steps (`credit_zoo.training.signal_agreement`), in [-1, 1].
    """

    source: TrainingSource
    steps: int
    settings: Mapping[str, Setting]
    tokens: int | None
    counters: Mapping[str, int]
    curve: tuple[Mapping[str, float], ...]
    weights: Weights | None
    agreement: Mapping[str, float] = field(default_factory=dict)

    @property
    def shared(self) -> Mapping[str, Setting]:
        """The settings that every rule's run has: what a rule is shown in the picture's place is the rule's own."""
        return {name: value for name, value in self.settings.items() if name != VIEW}

    def __post_init__(self) -> None:
        check_range("training.steps", self.steps, 1)
        for name, value in self.agreement.items():
            check_range(f"agreement.{name}", value, -1 - ROUNDING, 1 + ROUNDING)
        check_range("training.tokens", 0 if self.tokens is None else self.tokens, 0)
        for name, count in self.counters.items():
            check_range(f"counters.{name}", count, 0)
        logged = [entry.get("step", math.nan) for entry in self.curve]
        if not all(low < high for low, high in zip([-1, *logged], [*logged, self.steps + 1], strict=True)):
            raise UsageError(f"every entry of the curve needs a step, ascending and at most {self.steps}")


@dataclass(frozen=True)
class Decoding:
    """How answers were sampled; `top_k` 0 is off, `seed` is the draws' own, not the training's."""

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    seed: int

    def __post_init__(self) -> None:
        check_range("decoding.temperature", self.temperature, 0)
        check_range("decoding.top_p", self.top_p, 0, 1, open_low=True)
        check_range("decoding.top_k", self.top_k, 0)
        check_range("decoding.max_tokens", self.max_tokens, 1)


@dataclass(frozen=True)
class Category:
    """The mean score of one category's questions and their number."""

    mean: float
    count: int

    def __post_init__(self) -> None:
        check_share("category.mean", self.mean)
        check_range("category.count", self.count, 1)


@dataclass(frozen=True)
class Beside:
    """What is reported beside the headline and never mixed with it, all in [0, 1].

    `official` is avg@N under the set's published rule, None for a set without one; `unleaked` the headline over the
    questions that do not come from the set that is trained on, None where none does; `baselines` the scores of those
    who do not look (`credit_zoo.evaluation.baselines`), by name; `temperatures` accuracy by the temperature at which
    answers were drawn, where a row of them was measured.
    """

    official: float | None = None
    unleaked: Category | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)
    temperatures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_share("official", self.official)
        for kind, shares in (("baselines", self.baselines), ("temperatures", self.temperatures)):
            for name, share in shares.items():
                check_share(f"{kind}.{name}", share)


@dataclass(frozen=True)
class Evaluation:
    """One benchmark, measured before or after training.

    `value` is avg@N of the headline metric, the mean of `correctness`: per question the mean over `samples`, in the
    order of the questions that `question_ids` is the hash of. `greedy` and `pass_at_n` are None where not measured;
    `extraction_failures`, `unformatted` and `truncated` are shares of all responses.
    `grader` and `prompt` are hashes (or versions) of what scored and of what was asked, `code` and `settings` the
    benchmark's own source and settings.
    """

    bench: str
    bench_version: int
    split: str
    twin: bool
    revision: str
    stage: Literal["before", "after"]
    questions: int
    samples: int
    decoding: Decoding
    grader: str
    prompt: str
    metric: str
    value: float
    greedy: float | None
    pass_at_n: float | None
    correctness: tuple[float, ...]
    question_ids: str
    extraction_failures: float
    unformatted: float
    truncated: float
    categories: Mapping[str, Category]
    beside: Beside = field(default_factory=Beside)
    code: str = ""
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_range("bench_version", self.bench_version, 1)
        check_range("questions", self.questions, 1)
        check_range("samples", self.samples, 1)
        for name in ("value", "greedy", "pass_at_n", "extraction_failures", "unformatted", "truncated"):
            check_share(name, getattr(self, name))
        if len(self.correctness) != self.questions:
            raise UsageError(
                f"correctness must have {self.questions} entries, one a question, has {len(self.correctness)}"
            )
        for index, share in enumerate(self.correctness):
            if not 0 <= share <= 1 + ROUNDING:  # thousands are asked, few are named
                check_share(f"correctness[{index}]", share)
        if not math.isclose(math.fsum(self.correctness) / self.questions, self.value, abs_tol=ROUNDING):
            raise UsageError(f"value must be the mean of correctness, got {self.value}")
        if self.categories and sum(part.count for part in self.categories.values()) != self.questions:
            raise UsageError(f"the categories' counts must add up to {self.questions} questions")

    @property
    def measure(self) -> tuple[object, ...]:
        """What was measured: two evaluations may be compared only where this is equal."""
        values = [getattr(self, name) for name in MEASURE]
        return tuple(tuple(sorted(one.items())) if isinstance(one, Mapping) else one for one in values)


@dataclass(frozen=True)
class RunRecord:
    """One run. `shaper`, `base` and `training` are None together, for a model measured without training.

    `identity` is None where it is not known: in what was a record of schema 1. `supersedes` are the ids of runs whose
    place this one takes.
    """

    schema: int
    contract_version: int
    run_id: str
    created: str
    command: tuple[str, ...]
    seed: int
    shaper: Piece | None
    base: Piece | None
    gin: str
    model: Model
    training: Training | None
    evaluations: tuple[Evaluation, ...]
    machine: Machine
    origin: Origin
    seconds: float
    status: Literal["complete"] = "complete"
    notes: tuple[str, ...] = ()
    identity: Identity | None = None
    supersedes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def rule(self) -> Piece | None:
        """The shaper with all that is its own: its settings, and what it is shown in the picture's place."""
        view = self.training.settings.get(VIEW) if self.training is not None else None
        if self.shaper is None or view is None:
            return self.shaper
        return Piece(self.shaper.name, {**self.shaper.settings, "view": view}, self.shaper.code)

    def __post_init__(self) -> None:
        check_schema(self.schema, SCHEMA)
        check_range("contract_version", self.contract_version, 1)
        check_range("seed", self.seed, 0)
        check_range("seconds", self.seconds, 0)
        if not re.fullmatch(r"[0-9a-z][0-9a-z-]{5,63}", self.run_id):
            raise UsageError(f"run_id must be 6 to 64 of a-z, 0-9 and '-', got {self.run_id!r}")
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", self.created):
            raise UsageError(f"created must read like 2026-01-31T12:00:00Z, got {self.created!r}")
        if self.run_id in self.supersedes:
            raise UsageError(f"supersedes must name other runs, names {self.run_id} itself")
        if len({part is None for part in (self.shaper, self.base, self.training)}) != 1:
            raise UsageError("shaper, base and training must be given together or not at all")
        if any(not 0 < len(note) <= 40 or "\n" in note for note in self.notes):
            raise UsageError(f"a note is one line of at most 40 characters, got {self.notes}")
        asked = Counter((evaluation.stage, evaluation.measure) for evaluation in self.evaluations)
        if not asked or max(asked.values()) > 1:
            raise UsageError("evaluations must name at least one measurement, and none twice")
