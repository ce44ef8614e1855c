"""Words that right answers to a prompt have and wrong ones lack get credit, or blame.

    k_v    = strength * ( 2 sigmoid( (F_v + I_v) x_v / 2 ) - 1 )       of every token type v among the prompt's answers
    F_v    = exp(-2 p_v), 0 where p_v = 1                              p: Fisher's exact test, two-sided, of a, b, c, d
    I_v    = information on right or wrong in v's presence [bits]      a, b right and wrong answers with v; c, d without
    x_v    = asin sqrt(a/(a+c)) - asin sqrt(b/(b+d)) + f+/(f- + eps) - f-/(f+ + eps)
    f      = 3 q / (q + 1 + n / mean n)                                q: share of a side's n tokens that are v
    A[b,t] = A[b] + k_v(y[b,t])

Paper: KTAE, arXiv:2505.16826. Reference: xiaolizh1/KTAE@ea9fb77, whose scripts set a weight of 2 for I that it never
reads.
Reports: higher accuracy and shorter answers than GRPO and DAPO, without another model; groups of 16.
Implemented: the equations, from one table of p over (a, b) a prompt. 0 where answers are all right or all wrong.
Departs: a score of one half is right (the release: any reward above 0). The last token of a response gets A[b] (the
release: the id 151643 does). Tables as likely as the one seen count in p, which rounding leaves out in the release.
Types seen on one side alone have ratios near 1/eps and end at +-strength, as in the release. Reduces to `uniform` at
strength 0.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _positions as positions
from credit_zoo.types import ShaperInputs

TIE = 1e-7  # two tables are as likely as each other if their chances differ by less, as a share


@SHAPERS.register(
    "ktae",
    paper="arXiv:2505.16826",
    reference="xiaolizh1/KTAE@ea9fb77",
    scope="group",
    reduces_to=("uniform", {"strength": 0.0}),
)
@dataclass(frozen=True)
class Ktae:
    """Size of the term, and the floor of its ratios."""

    strength: float = 1.0  # largest credit that a type can get, [0, inf); 0 = uniform
    eps: float = 1e-5  # of the ratios of frequencies, (0, inf); larger = rare types end less often at +-strength

    def __post_init__(self) -> None:
        check_range("ktae.strength", self.strength, 0)
        check_range("ktae.eps", self.eps, 0, open_low=True)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        found = torch.zeros(x.mask.shape, device=x.mask.device)
        counted = x.mask.any(1)
        for number in sorted(set(x.group[counted].tolist())):
            rows = (x.group == number) & counted
            right = x.correct[rows] >= 0.5
            if right.any() and not right.all():
                found[rows] = self._of_types(x.rows(rows), right)
        last = positions.place(x.mask) == x.mask.sum(1, keepdim=True) - 1
        return masked.fill(x.advantage[:, None] + torch.where(last, 0.0, found), x.mask)

    def _of_types(self, x: ShaperInputs, right: Bool[Tensor, " N"]) -> Float[Tensor, "N T"]:
        """The credit of every token of the N answers to one prompt."""
        types, which = x.ids[x.mask].unique(return_inverse=True)  # type: ignore[no-untyped-call]
        row = torch.arange(len(x.mask), device=x.mask.device)[:, None].expand(x.mask.shape)[x.mask]
        times = torch.zeros(len(right), len(types), dtype=torch.float64, device=x.mask.device)
        times.index_put_((row, which), torch.ones_like(row, dtype=torch.float64), accumulate=True)
        sides = torch.stack([right, ~right]).double()
        seen = (sides @ (times > 0).double()).long()
        strength = torch.sigmoid(_evidence(seen, right) * self._effect(seen, sides, times)) * 2 - 1
        found = torch.zeros(x.mask.shape, device=x.mask.device)
        found[x.mask] = (self.strength * strength[which]).float()
        return found

    def _effect(
        self, seen: Int64[Tensor, "2 V"], sides: Float[Tensor, "2 N"], times: Float[Tensor, "N V"]
    ) -> Float[Tensor, " V"]:
        """`x_v`: above 0 for types of right answers."""
        angle = (seen / sides.sum(1, keepdim=True)).sqrt().asin()
        counts = sides @ times
        length = counts.sum(1, keepdim=True)
        share = counts / length
        often = 3 * share / (share + 1 + length / length.mean())
        ratio = often / (often.flip(0) + self.eps)
        return (angle[0] - angle[1]) + (ratio[0] - ratio[1])


def _evidence(seen: Int64[Tensor, "2 V"], right: Bool[Tensor, " N"]) -> Float[Tensor, " V"]:
    """`(F_v + I_v) / 2`, looked up in tables of every a and b there can be."""
    rights = int(right.sum())
    wrongs = len(right) - rights
    a, b = (torch.arange(n + 1, dtype=torch.float64, device=right.device) for n in (rights, wrongs))
    p = _fisher(a, b)
    test = torch.where(p < 1 - TIE, (-2 * p).exp(), 0.0)
    there = torch.stack([a[:, None] + 0 * b, 0 * a[:, None] + b])
    cells = torch.cat([there, torch.tensor([rights, wrongs], device=b.device)[:, None, None] - there]) / len(right)
    joint = -torch.special.xlogy(cells, cells).sum(0)
    with_type = cells[0] + cells[1]
    margins = torch.stack([with_type, 1 - with_type])
    outcome = torch.tensor([rights, wrongs], dtype=torch.float64, device=right.device) / len(right)
    information = -torch.special.xlogy(margins, margins).sum(0) - torch.special.xlogy(outcome, outcome).sum() - joint
    evidence: Tensor = (test + information / math.log(2)) / 2
    return evidence[seen[0], seen[1]]


def _fisher(a: Float[Tensor, " R"], b: Float[Tensor, " W"]) -> Float[Tensor, "R W"]:
    """Fisher's p of a right and b wrong answers that have a type: of the tables in which k right ones and a + b - k
    wrong ones have it, the share of those that are no likelier than this one.
    """
    rest = a[:, None, None] + b[:, None] - a
    there = (rest >= 0) & (rest <= b[-1])
    chance = _choices(a[-1], a) + _choices(b[-1], rest.clamp(0, float(b[-1])))
    chance = torch.where(there, chance - torch.where(there, chance, -torch.inf).amax(2, keepdim=True), -torch.inf).exp()
    own = chance.gather(2, torch.arange(len(a), device=a.device)[:, None, None].expand(-1, len(b), 1))
    return (chance * (chance <= own * (1 + TIE))).sum(2) / chance.sum(2)


def _choices(n: Tensor, k: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The logarithm of n over k."""
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
