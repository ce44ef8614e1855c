"""How long runs would take, from the recorded seconds of runs like them.

    seconds = responses * (training seconds a response) + answers * (the other seconds an answer)

Both rates are medians over the recorded runs that are most like the one to come: of the same policy, set, base, and
rule; or of fewer of these, in this order. They hold for the machine, and the other work on it, that the records come
from.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from credit_zoo.experiment.expected import ExpectedRun
from credit_zoo.results import RunRecord

LIKE = ("the same rule", "other rules under the same base", "other bases", "other sets")


@dataclass(frozen=True)
class Rate:
    """Seconds of training a response, and of all else an answer, of one recorded run."""

    training: float
    beside: float


@dataclass(frozen=True)
class Forecast:
    """How many seconds a run takes, None where nothing like it is recorded; `like` is what it is told from."""

    seconds: float | None
    like: str


def rates(records: Sequence[RunRecord]) -> Mapping[tuple[str, ...], list[Rate]]:
    """The rates of trained runs by all that a run to come may have in common with them."""
    found: dict[tuple[str, ...], list[Rate]] = {}
    for record in records:
        training = record.training
        if training is None or record.shaper is None or record.base is None:
            continue
        steps = [entry["seconds"] for entry in training.curve if "seconds" in entry]
        prompts, group = (training.settings.get(name) for name in ("train.prompts", "sampling.group"))
        if len(steps) != training.steps or not isinstance(prompts, int) or not isinstance(group, int):
            continue
        answers = sum(one.questions * one.samples for one in record.evaluations)
        one = Rate(sum(steps) / (training.steps * prompts * group), max(record.seconds - sum(steps), 0.0) / answers)
        for key in _keys(record.model.name, training.source.bench, record.base.name, record.shaper.name):
            found.setdefault(key, []).append(one)
    return found


def _keys(model: str, bench: str, base: str, rule: str) -> Iterator[tuple[str, ...]]:
    """The most alike first."""
    yield from ((model, bench, base, rule), (model, bench, base), (model, bench), (model,))


def forecast(run: ExpectedRun, found: Mapping[tuple[str, ...], Sequence[Rate]]) -> Forecast:
    """How long a run takes."""
    keys = _keys(run.model, run.trained_on or "", run.command.base, run.command.shaper)
    for like, key in zip(LIKE, keys, strict=True):
        if known := found.get(key):
            training, beside = median(one.training for one in known), median(one.beside for one in known)
            return Forecast(run.responses * training + run.answers * beside, like)
    return Forecast(None, "")


def hours_text(forecasts: Sequence[Forecast], jobs: int) -> str:
    """All of it in a sentence."""
    known = [one.seconds for one in forecasts if one.seconds is not None]
    unknown = len(forecasts) - len(known)
    told = [f"{sum(one.like == like for one in forecasts)} by runs of {like}" for like in LIKE]
    parts = [text for text, like in zip(told, LIKE, strict=True) if any(one.like == like for one in forecasts)]
    said = []
    if known:
        said.append(f"about {sum(known) / 3600 / jobs:.1f} hours with jobs={jobs} (told of {', '.join(parts)})")
    if unknown:
        said.append(f"{unknown} runs have nothing like them on record: measure=true times a short run of each kind")
    return "; ".join(said) or "nothing is left to do"
