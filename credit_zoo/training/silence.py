"""Where a step has no gradient at all, so that nothing of it has to be read: what its rule and its loss say for sure.

    row     a response to none of whose tokens the rule gives credit
    token   a token without credit behind the last one that has some

Neither is silent by itself: a KL term, an entropy bonus or the distance to a degraded view act on every token, a ratio
of the whole response hands a token's gradient to the others, a loss may hold back what it selected, and a rule may give
credit where there is no advantage. So the pieces are asked, registered or not: the loss of the base, and the rule, are
computed of made-up numbers, and what has a gradient, or gets credit, without credit or advantage, is not silent.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo.objective import Base, ContractError, Shaper, TokenBatch, Totals, shape
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs, TokenSignals

ROWS, WIDTH = 12, 24
# How far made-up policies have moved, as a factor on their log-ratios: within clip ranges, at their edge, far outside.
MOVED = (0.0, 0.05, 0.3, 1.0, 5.0, 30.0)
# Signals that are no measurement of any size, by their lowest and highest value; whole numbers where both are.
WHOLE = {"section": (-1, 1), "digit": (0, 1), "truth_role": (-1, 2), "truth_error": (0, 1)}
BOUNDED = {"logp": (-4.0, 0.0), "view_logp": (-6.0, 0.0), "entropy": (0.0, 3.0), "view_entropy": (0.0, 4.0)}
COSINE = (-1.0, 1.0)  # of all others: no signal is outside of these by much


@dataclass(frozen=True)
class Silence:
    """What is silent: `rows` without credit, `tokens` without credit behind the last one with some, and `rule`: a
    response whose advantage is 0 gets no credit.
    """

    rows: bool
    tokens: bool
    rule: bool

    @classmethod
    def of(cls, shaper: Shaper, base: Base, updates: int) -> "Silence":
        """Of a run with so many `updates` on each rollout: in the first of them no token has moved."""
        moved = MOVED if updates > 1 else MOVED[:1]
        rows, tokens = (all(_without_gradient(base, scale, share) for scale in moved) for share in (0.0, 0.4))
        return cls(rows, tokens, rows and _without_credit(shaper))


def _without_gradient(base: Base, moved: float, share: float) -> bool:
    """Whether no token without credit has a gradient, where a `share` of all has credit."""
    draws = torch.Generator().manual_seed(0)

    def drawn() -> Float[Tensor, "R T"]:
        return torch.randn(ROWS, WIDTH, generator=draws)

    old_logp, mask = -drawn().abs(), drawn() > -1
    logp, entropy = (old_logp + moved * drawn()).requires_grad_(), drawn().abs().requires_grad_()
    advantage = torch.where(drawn().argsort().argsort() < share * WIDTH, drawn(), 0.0)
    reference, view, selected = old_logp + drawn(), old_logp + drawn(), drawn() > 0
    batch = TokenBatch(logp, old_logp, advantage, mask, reference, entropy, view, selected)
    loss, _ = base.objective(batch, Totals(ROWS, float(mask.sum()), WIDTH))
    if not loss.requires_grad:
        return True
    found = torch.autograd.grad(loss, (logp, entropy), allow_unused=True)
    # What is not finite is not silent either.
    return not any(bool((one[advantage == 0] != 0).any()) for one in found if one is not None)


def _without_credit(shaper: Shaper) -> bool:
    """Whether the rule gives no credit to any response whose advantage is 0."""
    draws = torch.Generator().manual_seed(0)
    signals = {name: _made_up(name, draws) for name in SHAPERS.of(shaper).facts.needs}
    x = ShaperInputs(
        torch.zeros(ROWS),
        TokenSignals(signals),
        torch.rand(ROWS, WIDTH, generator=draws) < 0.8,
        torch.arange(ROWS) // 4,
        torch.randint(50, (ROWS, WIDTH), generator=draws),
        0.5,
        torch.arange(ROWS) % 2.0,
    )
    try:
        return not bool(shape(shaper, x).any())
    except ContractError:
        return False


def _made_up(name: str, draws: torch.Generator) -> Float[Tensor, "R T"]:
    if name in WHOLE:
        low, high = WHOLE[name]
        return torch.randint(low, high + 1, (ROWS, WIDTH), generator=draws).float()
    lowest, highest = BOUNDED.get(name, COSINE)
    return lowest + (highest - lowest) * torch.rand(ROWS, WIDTH, generator=draws)
