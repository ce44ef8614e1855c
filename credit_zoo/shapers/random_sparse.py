"""Control: one token of each response, drawn at random, takes all the credit.

    A[b,t] = A[b] * T[b] * [t = s(b)]            s(b): a token drawn from a hash of the seed and the response's ids

Paper: none. As sparse as the truth and right by chance alone: the instrument and training must put it far below
`uniform`. Never ranked.
"""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs


@SHAPERS.register("random_sparse", paper="none", control=True, preserves_mean=True, preserves_sign=True)
@dataclass(frozen=True)
class RandomSparse:
    """The seed of the draws."""

    seed: int = 0  # of the tokens that are drawn, [0, inf)

    def __post_init__(self) -> None:
        check_range("random_sparse.seed", self.seed, 0)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        # Drawn on the host from one copy of ids and mask: an accelerator is waited for once, and not for every row.
        ids, mask = torch.stack([x.ids, x.mask.long()]).cpu()
        weights = torch.zeros(mask.shape)
        for row, valid in enumerate(mask.bool()):
            places = valid.nonzero()[:, 0]
            if len(places):
                weights[row, places[self._draw(ids[row, valid].tolist())]] = len(places)
        return x.weighted(weights.to(x.mask.device))

    def _draw(self, ids: list[int]) -> int:
        digest = hashlib.blake2b(repr((self.seed, ids)).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % len(ids)
