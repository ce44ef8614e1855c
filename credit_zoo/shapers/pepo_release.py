"""PEPO's token weights exactly as its released code computes them.

    w_t    = T * softmax_t(VS'_t * (1 + alpha * tanh(g_t)) / temperature)     g_t as in `pepo`, from VS' and H
    A[b,t] = A[b] * w_t

Paper: PEPO, arXiv:2603.22847. Reference: xzxxntxdy/PEPO@2b1e788, cosine score, defaults of the released scripts.
Reduces to `uniform` as the temperature grows (`inf` is allowed).
Where the release departs from the paper, and this file follows the release:
- layers: VS' averages the embedding output and layers 1..L; the paper has layers 1..L (`visual_similarity`);
- temperature: 1.8 in every script; the paper has none;
- position: VS' is read at the position of token t, H at the position that emitted it, one earlier;
- gate: it multiplies the raw similarity, so a negative similarity turns it round: an open gate lowers the weight.
Where this file departs from the release: the release lets the loss differentiate through VS' and, when entropy is
logged, through H. With one update per rollout that gradient is exactly 0; elsewhere it is a leak. Here there is none.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _gated_fusion as fusion
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "pepo_release",
    paper="arXiv:2603.22847",
    reference="xzxxntxdy/PEPO@2b1e788",
    needs=("visual_similarity_release", "entropy"),
    preserves_mean=True,
    preserves_sign=True,
    reduces_to=("uniform", {"temperature": float("inf")}),
)
@dataclass(frozen=True)
class PepoRelease:
    """The two numbers that the released scripts pass on their command line."""

    alpha: float = 0.05  # strength of the gate, dimensionless, [0, 1]
    temperature: float = 1.8  # dimensionless, (0, inf]; larger = flatter weights

    def __post_init__(self) -> None:
        check_range("pepo_release.alpha", self.alpha, 0, 1)
        check_range("pepo_release.temperature", self.temperature, 0, open_low=True)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        similarity, entropy = x.signals.visual_similarity_release, x.signals.entropy
        return x.weighted(fusion.gated(similarity, entropy, x.mask, self.alpha, self.temperature))
