"""Where the loop meets a shaper: what goes in, and what is refused when it comes out.

A[b,t] <- A[b] + schedule(progress) * (shaper(inputs)[b,t] - A[b])        on valid tokens, 0 elsewhere
"""

from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import UsageError
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs, TokenSignals

ShaperSchedule = Literal["none", "linear"]


@runtime_checkable
class Shaper(Protocol):
    """A frozen dataclass of settings that spreads advantages over tokens; `needs` names the signals that it reads."""

    @property
    def needs(self) -> tuple[str, ...]: ...

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]: ...


class ContractError(RuntimeError):
    """A shaper returned something that the loop must not train on."""


@torch.no_grad()
def shape(shaper: Shaper, x: ShaperInputs) -> Float[Tensor, "B T"]:
    """Token advantages `[B, T]`, float32, by `shaper`, checked.

    The shaper sees only the signals that it declared, detached and in float32. Raises `ContractError` naming
    shaper and row if the result has another shape or dtype, is not finite, or is not 0 outside the mask.
    """
    entry = SHAPERS.of(shaper)
    missing = [name for name in entry.facts.needs if name not in x.signals.values]
    if missing:
        raise UsageError(f"shaper '{entry.name}' needs the signals {', '.join(missing)}, which were not measured")
    declared = TokenSignals({name: x.signals.values[name].detach().float() for name in entry.facts.needs})
    result = shaper(replace(x, advantage=x.advantage.detach().float(), signals=declared, correct=x.correct.float()))
    _check(entry.name, result, x)
    return result


def scheduled(token_advantage: Float[Tensor, "B T"], x: ShaperInputs, schedule: ShaperSchedule) -> Float[Tensor, "B T"]:
    """Blends a shaper's result into the uniform one as training goes on.

    schedule(progress) = 1 for "none", progress for "linear": all uniform at progress 0.
    """
    if schedule == "none":
        return token_advantage
    uniform = x.weighted(torch.ones_like(token_advantage))
    return uniform + x.progress * (token_advantage - uniform)


def weights(token_advantage: Float[Tensor, "B T"], x: ShaperInputs) -> Float[Tensor, "B T"]:
    """The weights that token advantages amount to, `A[b,t] / A[b]`; 1 where `A[b]` is 0, 0 outside the mask."""
    advantage = x.advantage[:, None].float()
    safe = torch.where(advantage == 0, 1.0, advantage)
    return masked.fill(torch.where(advantage == 0, 1.0, token_advantage / safe), x.mask)


def _check(name: str, result: object, x: ShaperInputs) -> None:
    if not isinstance(result, Tensor) or result.shape != x.mask.shape or result.dtype != torch.float32:
        given = f"{result.dtype} {list(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        raise ContractError(f"shaper '{name}' returned {given}; expected torch.float32 {list(x.mask.shape)}")
    faults = (
        (~result.isfinite(), "a value that is not finite"),
        ((result != 0) & ~x.mask, "a value outside the mask; end with `x.weighted(weights)` or `masked.fill`"),
    )
    # Both are looked for before the host waits for either.
    there = torch.stack([wrong.any() for wrong, _ in faults]).tolist()
    for (wrong, what), is_there in zip(faults, there, strict=True):
        if is_there:
            row, token = wrong.nonzero()[0].tolist()
            raise ContractError(f"shaper '{name}' returned {what} (row {row}, token {token})")
