"""A rule of the zoo as a host runs it: what the host can give it, and what it makes of one batch."""

from collections.abc import Collection
from dataclasses import dataclass
from importlib import metadata
from typing import cast, get_args

from jaxtyping import Float
from torch import Tensor

from credit_zoo.errors import UsageError
from credit_zoo.facts import TRUTH_PREFIX, ShaperFacts
from credit_zoo.objective import Shaper, ShaperSchedule, spread
from credit_zoo.registry import SHAPERS
from credit_zoo.types import SIGNALS, ShaperInputs


@dataclass(frozen=True)
class HostRule:
    """A rule with its settings and its schedule over training."""

    shaper: Shaper
    schedule: ShaperSchedule = "none"

    @classmethod
    def of(cls, shaper: "str | Shaper", schedule: str, host: str, gives: Collection[str]) -> "HostRule":
        """The rule of a name or instance, for a host that `gives` these signals. Raises `UsageError` for a name that is
        not there, or a rule that needs other signals.
        """
        if schedule not in get_args(ShaperSchedule):
            raise UsageError(f"shaper_schedule must be none or linear, got {schedule!r}")
        made = SHAPERS[shaper].factory() if isinstance(shaper, str) else shaper
        rule = cls(made, cast(ShaperSchedule, schedule))
        if missing := [name for name in rule.facts.needs if name not in gives]:
            told = "; ".join(f"{name}: {SIGNALS[name]}" for name in missing)
            twin = " What begins with truth_ is known of a twin alone." if _any_truth(missing) else ""
            raise UsageError(
                f"shaper '{rule.name}' needs the signals {', '.join(missing)} ({told}), which {host} cannot give."
                f"{twin} It gives {', '.join(gives)}. Choose another shaper, or train with `python -m credit_zoo.run`."
            )
        return rule

    @property
    def facts(self) -> ShaperFacts:
        return SHAPERS.of(self.shaper).facts

    @property
    def name(self) -> str:
        return SHAPERS.of(self.shaper).name

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        """Token advantages, float32, 0 outside the mask; rows without a token that counts get 0."""
        return spread(self.shaper, x, self.schedule)


def _any_truth(names: Collection[str]) -> bool:
    return any(name.startswith(TRUTH_PREFIX) for name in names)


def check_version(package: str, low: tuple[int, ...], below: tuple[int, ...]) -> None:
    """Raises `UsageError` naming the supported versions unless the installed one is in [low, below)."""
    supported = f"{package} from {_dotted(low)} to below {_dotted(below)}"
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        raise UsageError(f"{package} is not installed; supported is {supported}") from None
    numbers = tuple(int(part) for part in found.split("+")[0].split(".")[:3] if part.isdigit())
    if not low <= numbers < below:
        raise UsageError(
            f"{package} {found} is not supported: the adapter is made for, and tested with, {supported}. "
            f"Install one of these: pip install '{package}>={_dotted(low)},<{_dotted(below)}'"
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
