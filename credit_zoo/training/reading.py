"""What of a step is read, and in which micro-batches: with a gradient, only what teaches.

    reach[b] = 1 + the last t whose token gets credit        0 where none does: all answers to the prompt were as good

A token behind it has a gradient of exactly 0, and so has a whole response of reach 0, wherever the step is silent there
(`credit_zoo.training.silence`). What is not read keeps its place in every count that the loss is divided by.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Int64
from torch import Tensor

from credit_zoo.policy import MicroBatch, pack, split, width_of
from credit_zoo.training.trainer import Trainer, UpdateBatch


def whole_parts(trainer: Trainer, update_batch: UpdateBatch) -> list[MicroBatch]:
    """All of the step's responses, the same number of micro-batches on every process."""
    every = torch.arange(len(update_batch.rows.mask), device=update_batch.rows.mask.device)
    return parts_of(trainer, update_batch, every, update_batch.rows.lengths)


def micro_batches(trainer: Trainer, update_batch: UpdateBatch) -> list[MicroBatch]:
    """The step's responses as they are read together for their gradient: as many micro-batches on every process, and at
    least one.
    """
    if not trainer.silence.rows:
        return whole_parts(trainer, update_batch)
    lengths, reach = update_batch.rows.lengths, _reach(trainer, update_batch)
    wanted = reach.nonzero()[:, 0]
    if not len(wanted):
        wanted, reach = lengths.argmin()[None], lengths
    return _with_all_tokens(parts_of(trainer, update_batch, wanted, reach), update_batch)


def left_out_rows(update_batch: UpdateBatch, parts: Sequence[MicroBatch]) -> Int64[Tensor, " M"]:
    """The rows of this process that are in none of its micro-batches."""
    found = torch.ones_like(update_batch.rows.row_of, dtype=torch.bool)
    for part in parts:
        found[part.rows] = False
    return found.nonzero()[:, 0]


def _reach(trainer: Trainer, update_batch: UpdateBatch) -> Int64[Tensor, " B"]:
    """How many tokens of each response have to be read for their gradient. Cut short are only those of a single update:
    in later ones more is told of a token than its gradient.
    """
    x, shaped, silence = update_batch.inputs, update_batch.shaped, trainer.silence
    if shaped is not None:
        credit = (shaped != 0) & x.mask
    else:
        credit = x.mask & (x.advantage != 0)[:, None] if silence.rule else x.mask
    if shaped is not None and silence.tokens and trainer.train.updates == 1:
        place = torch.arange(1, credit.shape[1] + 1, device=credit.device)
        return (credit * place).amax(1)
    return torch.where(credit.any(1), update_batch.rows.lengths, 0)


def parts_of(
    trainer: Trainer, update_batch: UpdateBatch, wanted: Int64[Tensor, " M"], lengths: Int64[Tensor, " B"]
) -> list[MicroBatch]:
    """Micro-batches of the `wanted` rows, up to their `lengths`; the same number on every process, so that all go
    through the same passes: one that has too few rows reads others too.
    """
    train, layout = trainer.train, update_batch.rows

    def packed(rows: Tensor, lengths: Tensor, responses: int) -> list[MicroBatch]:
        if not len(rows):
            return []
        sizes = (layout.prompt_length, layout.mask.shape[1], responses, train.micro_tokens)
        found = pack(layout.row_of[rows], lengths[rows], *sizes)
        return [replace(part, rows=rows[part.rows]) for part in found]

    found = packed(wanted, lengths, train.micro_batch)
    count = int(trainer.accelerator.gather(torch.tensor([len(found)], device=lengths.device)).max())
    lacking = count - len(wanted)
    if lacking > 0:
        others = torch.ones_like(lengths, dtype=torch.bool)
        others[wanted] = False
        found += packed(others.nonzero()[:lacking, 0], layout.lengths, responses=1)
    return split(found, count)


def _with_all_tokens(parts: list[MicroBatch], update_batch: UpdateBatch) -> list[MicroBatch]:
    """The micro-batches with columns for all tokens of their rows, of which those that were packed are read."""
    lengths, widest = update_batch.rows.lengths, update_batch.rows.mask.shape[1]
    longest = torch.stack([lengths[part.rows].amax() for part in parts]).tolist()
    widths = [width_of(tokens, widest) for tokens in longest]
    return [
        MicroBatch(part.rows, width, part.width) if width > part.width else part
        for part, width in zip(parts, widths, strict=True)
    ]
