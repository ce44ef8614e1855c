"""From the labels of sampled tokens to the figures of a probe's record (`credit_zoo.lab.probe_record`)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int64

from credit_zoo.lab.auroc import auroc
from credit_zoo.lab.probe_record import TASKS, Mistakes, Separation, Spread
from credit_zoo.truth import ROLES, Labels
from credit_zoo.twins import ErrorKind, Verdict

Values: TypeAlias = Float[np.ndarray, "B T"]
Marks: TypeAlias = Bool[np.ndarray, "B T"]


def mistakes(wrong: Bool[np.ndarray, " B"], verdicts: Sequence[Verdict]) -> Mistakes:
    """What went wrong first, and how often anything did."""
    reasons = Counter(_reason(verdict) for verdict, failed in zip(verdicts, wrong, strict=True) if failed)
    errors = Counter(kind for verdict in verdicts for kind, _, _ in verdict.errors)
    total = sum(reasons.values())

    def share(reason: str) -> float | None:
        return reasons[reason] / total if total else None

    return Mistakes(
        responses=len(verdicts),
        wrong=total,
        perception=share("perception"),
        reasoning=share("reasoning"),
        left=share("left"),
        unexplained=share("unexplained"),
        perception_slips=errors["perception"] / len(verdicts),
        reasoning_slips=errors["reasoning"] / len(verdicts),
        perception_habits=_followed(verdicts, "perception"),
        reasoning_habits=_followed(verdicts, "reasoning"),
    )


def _followed(verdicts: Sequence[Verdict], kind: ErrorKind) -> float:
    """The share of responses in which a habit of this kind was followed."""
    return sum(any(one == kind for one, _, _ in verdict.habits) for verdict in verdicts) / len(verdicts)


def _reason(verdict: Verdict) -> str:
    return verdict.first_error or ("unexplained" if verdict.followed else "left")


def spreads(signals: Mapping[str, Values], labels: Labels) -> Iterator[Spread]:
    """Each signal at the tokens of each role that occurs."""
    for name, values in signals.items():
        for role in ROLES:
            found = values[labels.has(role)].astype(np.float64)
            if len(found):
                low, middle, high = (float(point) for point in np.quantile(found, [0.05, 0.5, 0.95]))
                yield Spread(name, role, len(found), float(found.mean()), float(found.std()), low, middle, high)


def tasks(labels: Labels, wrong: Bool[np.ndarray, " B"]) -> dict[str, tuple[Marks, Marks]]:
    """For every task of `TASKS` its positive and its negative tokens."""
    read, content = labels.has("read"), labels.has("read", "derived")
    first = labels.error & content & wrong[:, None]
    others = content & ~first & first.any(1, keepdims=True)
    pairs = ((read, labels.has("derived", "filler")), (read, labels.has("filler")), (first, others))
    return dict(zip(TASKS, pairs, strict=True))


def separations(
    kind: str, measured: Mapping[str, Values], split: Mapping[str, tuple[Marks, Marks]], group: Int64[np.ndarray, " B"]
) -> Iterator[Separation]:
    """The AUROC of every measurement in every task, with intervals over questions."""
    question = np.broadcast_to(group[:, None], next(iter(split.values()))[0].shape)
    for name, values in measured.items():
        for task, (positive, negative) in split.items():
            either, counts = positive | negative, (int(positive.sum()), int(negative.sum()))
            if not all(counts):
                yield Separation(kind, name, task, *counts, value=None, low=None, high=None)
                continue
            found = auroc(values[either].astype(np.float64), positive[either], question[either])
            yield Separation(kind, name, task, *counts, value=found.value, low=found.low, high=found.high)
