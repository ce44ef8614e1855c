"""The null: PEPO's weights, shuffled within each response.

    A[b,t] = A[b] * w[b, s(t)]        w the weights of `pepo`, s a permutation of the response's valid tokens

Paper: none; the control for PEPO, arXiv:2603.22847. The same weights in the same response, only at other tokens: a
rule that does not beat its own shuffle has shown nothing. The permutation is drawn from a hash of the seed and of the
response's valid token ids in their order, and of nothing else, so that padding, the rows' order and the cut into
micro-batches leave it alone, and a response has the same one whenever it comes up.
Reduces to `uniform` as the temperature grows (`inf` is allowed).
"""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _gated_fusion as fusion
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "permuted_pepo",
    paper="arXiv:2603.22847",
    needs=("visual_similarity", "entropy"),
    preserves_mean=True,
    preserves_sign=True,
    reduces_to=("uniform", {"temperature": float("inf")}),
)
@dataclass(frozen=True)
class PermutedPepo:
    """PEPO's settings, and the seed of the shuffle."""

    alpha: float = 0.05  # strength of the gate, dimensionless, [0, 1]
    temperature: float = 1.0  # dimensionless, (0, inf]; larger = flatter weights
    seed: int = 0  # of the permutations, [0, inf)

    def __post_init__(self) -> None:
        check_range("permuted_pepo.alpha", self.alpha, 0, 1)
        check_range("permuted_pepo.temperature", self.temperature, 0, open_low=True)
        check_range("permuted_pepo.seed", self.seed, 0)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        similarity, entropy = x.signals.visual_similarity, x.signals.entropy
        weights = fusion.gated(similarity, entropy, x.mask, self.alpha, self.temperature)
        shuffled = torch.zeros_like(weights)
        for row, valid in enumerate(x.mask):
            shuffled[row, valid] = weights[row, valid][self._order(x.ids[row, valid])]
        return x.weighted(shuffled)

    def _order(self, ids: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        digest = hashlib.blake2b(repr((self.seed, ids.tolist())).encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
        return torch.randperm(len(ids), generator=generator).to(ids.device)
