"""Tokens whose state resembles the image's get more credit: PEPO without its gate.

    w_t    = T * softmax_t(VS_t / temperature)                VS visual similarity in [-1, 1]
    A[b,t] = A[b] * w_t

Paper: PEPO, arXiv:2603.22847, ablation "perception-only" (alpha = 0). Reference: xzxxntxdy/PEPO@2b1e788.
Reduces to `uniform` as the temperature grows (`inf` is allowed).
Departs from the paper: the temperature, see `pepo`.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _gated_fusion as fusion
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "perception",
    paper="arXiv:2603.22847",
    reference="xzxxntxdy/PEPO@2b1e788",
    needs=("visual_similarity",),
    preserves_mean=True,
    preserves_sign=True,
    reduces_to=("uniform", {"temperature": float("inf")}),
)
@dataclass(frozen=True)
class Perception:
    """The setting of the softmax."""

    temperature: float = 1.0  # dimensionless, (0, inf]; larger = flatter weights

    def __post_init__(self) -> None:
        check_range("perception.temperature", self.temperature, 0, open_low=True)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        return x.weighted(fusion.mean_one(x.signals.visual_similarity, x.mask, self.temperature))
