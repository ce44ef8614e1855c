"""What a record keeps of a rule's weights, and what a share may be."""

from dataclasses import dataclass, field

from credit_zoo.errors import UsageError, check_range

ROUNDING = 1e-6  # float32 means of shares may leave [0, 1] by this much


def check_share(name: str, value: float | None) -> None:
    """Raises `UsageError` where a share is not in [0, 1]; None is none."""
    if value is not None:
        check_range(name, value, 0, 1 + ROUNDING)


@dataclass(frozen=True)
class Weights:
    """The weights W over valid tokens, mean over the run's steps.

    `std`; `ess` the effective sample size as a share, (sum W)^2 / (T sum W^2) in [0, 1]; three percentiles; `gini` of
    |W| in [0, 1]; `same_sign` the share of tokens with credit of the outcome's sign. The last two are None in records
    that are older than they.
    """

    std: float
    ess: float
    p05: float
    p50: float
    p95: float
    gini: float | None = field(default_factory=lambda: None)
    same_sign: float | None = field(default_factory=lambda: None)

    def __post_init__(self) -> None:
        check_range("weights.std", self.std, 0)
        for name in ("ess", "gini", "same_sign"):
            check_share(f"weights.{name}", getattr(self, name))
        if not self.p05 <= self.p50 <= self.p95:
            raise UsageError(f"percentiles must ascend, got {self.p05}, {self.p50}, {self.p95}")
