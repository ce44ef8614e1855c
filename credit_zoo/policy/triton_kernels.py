"""The reductions of `credit_zoo.policy.lm_head` as two Triton kernels, one program for each token.

    m <- max(m, max z),  s <- s e^(m - m') + sum e^(z - m'),  likewise sum z e^(z - m) and sum e^(2 (z - m))

runs along a row of raw logits once, so that nothing of their size is made; the gradient is written over them.
"""

from collections.abc import Sequence
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from credit_zoo.policy.lm_head import FORBIDDEN_LOGIT, Block

COLUMNS = 1024
LOWEST: tl.constexpr = tl.constexpr(FORBIDDEN_LOGIT)


@triton.jit
@no_type_check
def _finished(logits, columns, width, temperature, forbidden, count: tl.constexpr):
    z = tl.load(logits + columns, mask=columns < width, other=0.0).to(tl.float32) / temperature
    for k in tl.static_range(count):
        z = tl.where(columns == tl.load(forbidden + k), LOWEST, z)
    return tl.where(columns < width, z, float("-inf"))


@triton.jit
@no_type_check
def _reduce(
    logits, stride, width, ids, temperature, forbidden, chosen, logsumexp, mean, collision,
    count: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    start = logits + row * stride
    token = tl.load(ids + row)
    highest, total, weighted, squares, picked = float("-inf"), 0.0, 0.0, 0.0, float("-inf")
    for at in range(0, width, block):
        columns = at + tl.arange(0, block)
        z = _finished(start, columns, width, temperature, forbidden, count)
        new = tl.maximum(highest, tl.max(z, 0))
        shrink, p = tl.exp(highest - new), tl.exp(z - new)
        total = total * shrink + tl.sum(p, 0)
        weighted = weighted * shrink + tl.sum(p * tl.where(columns < width, z, 0.0), 0)
        squares = squares * shrink * shrink + tl.sum(p * p, 0)
        picked = tl.maximum(picked, tl.max(tl.where(columns == token, z, float("-inf")), 0))
        highest = new
    tl.store(chosen + row, picked)
    tl.store(logsumexp + row, highest + tl.log(total))
    tl.store(mean + row, weighted / total)
    tl.store(collision + row, squares / (total * total))


@triton.jit
@no_type_check
def _gradient(
    logits, stride, width, ids, temperature, forbidden, logsumexp, upstream,
    count: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    start = logits + row * stride
    token, scale, whole = tl.load(ids + row), tl.load(upstream + row) / temperature, tl.load(logsumexp + row)
    for at in range(0, width, block):
        columns = at + tl.arange(0, block)
        z = _finished(start, columns, width, temperature, forbidden, count)
        slope = scale * (tl.where(columns == token, 1.0, 0.0) - tl.exp(z - whole))
        tl.store(start + columns, slope.to(logits.dtype.element_ty), mask=columns < width)


class TritonKernel:
    """On CUDA, or anywhere in Triton's interpreter."""

    def reduce(self, logits: Tensor, ids: Tensor, temperature: float, forbidden: Sequence[int]) -> Block:
        found = Block(*(torch.empty(len(logits), device=logits.device) for _ in range(4)))
        if len(logits):
            grid, near = (len(logits),), torch.tensor([*forbidden, -1], device=logits.device)
            shape = (logits.stride(0), logits.shape[1])
            _reduce[grid](logits, *shape, ids, temperature, near, *found, count=len(forbidden), block=COLUMNS)
        return found

    def gradient(
        self,
        logits: Tensor,
        ids: Tensor,
        temperature: float,
        forbidden: Sequence[int],
        logsumexp: Tensor,
        upstream: Tensor,
    ) -> Tensor:
        if len(logits):
            grid, near = (len(logits),), torch.tensor([*forbidden, -1], device=logits.device)
            shape = (logits.stride(0), logits.shape[1])
            known = (ids, temperature, near, logsumexp, upstream.contiguous())
            _gradient[grid](logits, *shape, *known, count=len(forbidden), block=COLUMNS)
        return logits
