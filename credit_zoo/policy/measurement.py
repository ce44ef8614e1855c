"""All signals of some responses: what a shaper, a probe or an instrument wants to know of the policy.

Two passes at most, however many rules ask: one over the responses behind their prompts, which also gives the gradient
of the log-probabilities, and, where a signal of a degraded view is wanted, one without gradient over the same responses
behind the degraded prompts. In both a prompt is read once for its group.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from credit_zoo import masked
from credit_zoo.errors import UsageError
from credit_zoo.facts import TEXT_SIGNALS, VIEW_PREFIX
from credit_zoo.policy.batch_layout import BatchLayout
from credit_zoo.policy.lm_head import TokenStatistics
from credit_zoo.policy.policy import Policy
from credit_zoo.policy.response_text import text_signals
from credit_zoo.policy.signals import listen, token_signals
from credit_zoo.policy.truncation import WHOLE, Truncation
from credit_zoo.policy.views import View, seen_through
from credit_zoo.types import TokenSignals


def measure_tokens(
    policy: Policy,
    model: nn.Module,
    rows: BatchLayout,
    needs: Iterable[str],
    temperature: float = 1.0,
    truncation: Truncation = WHOLE,
    view: View | None = None,
    mask: Bool[Tensor, "B T"] | None = None,
    entropy_gradient: bool = False,
) -> tuple[TokenStatistics, TokenSignals]:
    """The statistics of every response token, and the signals that `needs` names, 0 outside the mask (the rows' own
    unless another is told).

    `model` is the policy, or what wraps it for training. Signals of a degraded view are those of `rows.degraded`, or
    of `view` where the rows have none; neither raises `UsageError`. Signals of the text are read from the tokens. With
    `entropy_gradient` the entropy of the statistics has one.
    """
    wanted = tuple(needs)
    compared = "view_divergence" in wanted
    with listen(policy, rows, wanted) as cosines, _head_inputs(policy, compared) as states:
        found: TokenStatistics = model(rows, temperature, truncation, entropy_gradient=entropy_gradient)
    text = [name for name in wanted if name in TEXT_SIGNALS]
    beside_model = dict(text_signals(text, policy.encoder, rows.response_ids, rows.mask))
    if any(name.startswith(VIEW_PREFIX) for name in wanted):
        beside = states[0].view(*rows.response_ids.shape, -1) if compared else None
        beside_model |= _seen(model, _degraded(policy, rows, view), temperature, truncation, beside)
    return found, token_signals(wanted, found, cosines, rows.mask if mask is None else mask, beside_model)


def measure_view(
    policy: Policy,
    model: nn.Module,
    rows: BatchLayout,
    needs: Iterable[str],
    temperature: float,
    truncation: Truncation,
    mask: Bool[Tensor, "B T"],
) -> TokenSignals:
    """The signals that a pass behind the degraded prompts alone gives, as `measure_tokens` measures them: all of a
    degraded view but those that compare it with the policy that sees the picture.
    """
    found = _seen(model, _degraded(policy, rows, None), temperature, truncation, None)
    return TokenSignals({name: masked.fill(found[name], mask) for name in needs})


@torch.no_grad()
def _seen(
    model: nn.Module, behind: BatchLayout, temperature: float, truncation: Truncation, beside: Tensor | None
) -> dict[str, Tensor]:
    """The signals of the view, from responses behind the degraded prompts."""
    seen = model(behind, temperature, truncation, beside=beside)
    return {VIEW_PREFIX + name: values for name, values in seen._asdict().items()}


def _degraded(policy: Policy, rows: BatchLayout, view: View | None) -> BatchLayout:
    """The responses behind the degraded prompts."""
    if rows.degraded is None:
        if view is None:
            raise UsageError(
                "signals of a degraded view were asked for, but not which view: see credit_zoo.policy.View"
            )
        rows = seen_through(rows, view, policy)
    assert rows.degraded is not None
    return BatchLayout(rows.degraded, rows.row_of, rows.response_ids, rows.mask)


@contextmanager
def _head_inputs(policy: Policy, wanted: bool) -> Iterator[list[Float[Tensor, "N D"]]]:
    """Collects the states that the language head is given inside the block, without gradient."""
    kept: list[Tensor] = []
    if not wanted:
        yield kept
        return
    head = policy.model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda module, args: kept.append(args[0].detach()))
    try:
        yield kept
    finally:
        hook.remove()
