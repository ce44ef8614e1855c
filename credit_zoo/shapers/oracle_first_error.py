"""Control: the first wrong token takes all the blame, content tokens share the credit.

    A[b,t] = A[b] * T[b] * e[b,t] / sum_t e[b,t]             A[b] < 0, e: the tokens of the first error
    A[b,t] = A[b] * T[b] * c[b,t] / sum_t c[b,t]             A[b] >= 0, c: the tokens that are read or derived

Paper: none; the twin's checker says what is wrong and what a token is for. Responses in which it finds no such token
are left uniform. An oracle, never ranked.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo.registry import SHAPERS
from credit_zoo.shapers._positions import evenly
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "oracle_first_error",
    paper="none",
    needs=("truth_role", "truth_error"),
    control=True,
    preserves_mean=True,
    preserves_sign=True,
)
@dataclass(frozen=True)
class OracleFirstError:
    """No settings."""

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        content = (x.signals.truth_role == 0) | (x.signals.truth_role == 1)
        return x.weighted(evenly(torch.where((x.advantage < 0)[:, None], x.signals.truth_error == 1, content), x.mask))
