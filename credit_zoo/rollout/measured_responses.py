"""Responses with what was measured of their tokens while they were drawn; cutting and joining them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from credit_zoo.types import Responses

_COLUMNS = ("ids", "mask", "logp", "truncated")


@dataclass(frozen=True)
class MeasuredResponses(Responses):
    """Responses with the `signals` that were measured while they were drawn, `SAMPLED_SIGNALS` by name, `[B, T]`
    float32, 0 outside the mask: of the distribution that was drawn from, temperature, top-k and top-p applied.
    """

    signals: Mapping[str, Float[Tensor, "B T"]]


def rows_of(responses: Responses, index: slice) -> Responses:
    """The responses to one prompt, which becomes row 0."""
    asked = torch.zeros_like(responses.row_of[index])
    ids, mask, logp, cut = (getattr(responses, name)[index] for name in _COLUMNS)
    if not isinstance(responses, MeasuredResponses):
        return Responses(ids, mask, logp, cut, asked)
    signals = {name: values[index] for name, values in responses.signals.items()}
    return MeasuredResponses(ids, mask, logp, cut, asked, signals)


def joined(parts: Sequence[Responses], row_of: Int64[Tensor, " B"]) -> Responses:
    """Responses of one width, one after the other; measured ones if all are."""
    ids, mask, logp, cut = (torch.cat([getattr(part, name) for part in parts]) for name in _COLUMNS)
    measured = [part.signals for part in parts if isinstance(part, MeasuredResponses)]
    if len(measured) < len(parts):
        return Responses(ids, mask, logp, cut, row_of)
    signals = {name: torch.cat([one[name] for one in measured]) for name in measured[0]}
    return MeasuredResponses(ids, mask, logp, cut, row_of, signals)
