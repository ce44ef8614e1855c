"""Control: the first wrong token alone is blamed, at the weight it has under uniform credit.

    A[b,t] = A[b] * e[b,t]             A[b] < 0, e: 1 at the tokens of the first error, 0 elsewhere
    A[b,t] = A[b]                      A[b] >= 0

Paper: none; the twin's checker says what is wrong first. A policy's gradient has the advantage of a token where the
token changed what is to be expected: what stands before the first error and behind it has none. Unlike
`oracle_first_error` nothing is scaled up: a mean that is kept gives the one wrong token the weight of a whole response,
and the answers that are wrong rule the step. A response in which no error is found, as one that left the form, is left
uniform. An oracle, never ranked.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs


@SHAPERS.register("oracle_blame", paper="none", needs=("truth_error",), control=True, preserves_sign=True)
@dataclass(frozen=True)
class OracleBlame:
    """No settings."""

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        error = (x.signals.truth_error == 1) & x.mask
        blamed = torch.where(error.any(1, keepdim=True), error, x.mask)
        return x.weighted(torch.where((x.advantage < 0)[:, None], blamed, x.mask).float())
