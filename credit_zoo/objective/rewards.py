"""What a scored response is worth in training: its form, its answer, its box, and DAPO's price on length."""

from collections.abc import Mapping
from dataclasses import dataclass

from credit_zoo.errors import UsageError, check_range
from credit_zoo.question import Score

_ANSWER = ("accuracy", "overlap")


@dataclass(frozen=True)
class Reward:
    """Weights of the parts of the reward.

    Defaults: PEPO adds a format and an accuracy reward and names no weights for them, hence 1 and 1. `overlap` pays
    the intersection over union with the true box (VLM-R1, arXiv:2504.07615), for questions about boxes alone.
    """

    format: float = 1.0  # for the form, think and answer
    accuracy: float = 1.0  # for the benchmark's score
    overlap: float = 0.0  # for the overlap with the true box

    def __post_init__(self) -> None:
        check_range("reward.format", self.format, 0)
        check_range("reward.accuracy", self.accuracy, 0)
        check_range("reward.overlap", self.overlap, 0)
        if self.format == self.accuracy == self.overlap == 0:
            raise UsageError(
                "reward.format, reward.accuracy and reward.overlap must not all be 0: nothing would be rewarded"
            )

    def parts(self, score: Score) -> dict[str, float]:
        """The weighted parts of the reward by name; "overlap" among them where it has a weight."""
        parts = {"format": self.format * float(score.formatted), "accuracy": self.accuracy * score.correct}
        if self.overlap:
            if score.overlap is None:
                raise UsageError(f"reward.overlap={self.overlap:g} must be 0: this benchmark's questions have no boxes")
            parts["overlap"] = self.overlap * score.overlap
        return parts

    def answer(self, parts: Mapping[str, float]) -> float:
        """The share of the reward that the answer earned, without form and length; all of it where nothing is paid for
        answers.
        """
        return sum(parts[name] for name in (_ANSWER if self.accuracy or self.overlap else parts) if name in parts)

    def total(self, score: Score) -> float:
        """The sum of the parts."""
        return sum(self.parts(score).values())


def overlong_penalty(length: int, limit: int, cache: int) -> float:
    """DAPO's soft overlong punishment (arXiv:2503.14476, equation 13), in [-1, 0], to be added to the reward.

    0 up to `limit - cache` tokens, then linearly down, `((limit - cache) - length) / cache`, to -1 at `limit`
    and beyond.
    """
    check_range("overlong cache", cache, 1)
    check_range("overlong limit", limit, cache)
    free = limit - cache
    if length <= free:
        return 0.0
    return (free - length) / cache if length <= limit else -1.0
