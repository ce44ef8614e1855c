"""Credit goes with how a teacher and the policy differ on a token, within narrow bounds.

    w      = (1 - strength) + strength * clip(exp(sign(A[b]) (log p_T - log p_S)), 1 - clip, 1 + clip)
    A[b,t] = A[b] * w                    p_T, p_S: of the sampled token, by teacher and student

Paper: RLSD, arXiv:2604.03128. Reference: modelscope/ms-swift, release 4.6.0, `advantage_reweight=rlsd`.
Reports: the teacher is the policy itself, whose prompt tells the answer; its figures were not checked by us.
Implemented: its weight, between the policy with the picture and the same policy under the degraded view.
teacher="view" lets the view teach the policy that sampled; teacher="picture" is the other way round, nearer to a
teacher that knows more: what the picture speaks for gains in right answers and loses in wrong ones.
Departs: no privileged prompt; the strength does not change over training but by `train.shaper_schedule`.
Reduces to `uniform` at strength = 0.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo.errors import UsageError, check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _picture_dependence as picture
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "rlsd",
    paper="arXiv:2604.03128",
    reference="modelscope/ms-swift, release 4.6.0",
    needs=("logp", "view_logp"),
    preserves_sign=True,
    reduces_to=("uniform", {"strength": 0.0}),
)
@dataclass(frozen=True)
class Rlsd:
    """How strong the teacher is, within which bounds, and who it is."""

    strength: float = 0.5  # of the teacher's word, [0, 1]
    clip: float = 0.2  # the ratio of probabilities stays in 1 - clip to 1 + clip, [0, 1]
    teacher: str = "view"  # view: the policy under the degraded view; picture: the policy that sees the picture
    negative_only: bool = False  # leave responses with an advantage above 0 uniform

    def __post_init__(self) -> None:
        check_range("rlsd.strength", self.strength, 0, 1)
        check_range("rlsd.clip", self.clip, 0, 1)
        if self.teacher not in ("view", "picture"):
            raise UsageError(f"rlsd.teacher must be view or picture, got {self.teacher!r}")
        if not isinstance(self.negative_only, bool):
            raise UsageError(f"rlsd.negative_only must be True or False, got {self.negative_only!r}")

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        away = picture.log_ratio(x.signals, x.mask) * (1 if self.teacher == "view" else -1)
        sign = x.advantage.sign()[:, None]
        ratio = (sign.clamp(max=0 if self.negative_only else 1) * away).exp().clamp(1 - self.clip, 1 + self.clip)
        return x.weighted(1 - self.strength + self.strength * ratio)
