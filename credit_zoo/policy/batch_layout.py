"""How prompts, responses and images lie in a batch: prompts left-padded, responses right-padded, both to a few fixed
lengths. Loop, signals and shapers see `[B, T]` alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from credit_zoo.policy.packing import MicroBatch
from credit_zoo.types import Prompts, Responses


@dataclass(frozen=True)
class BatchLayout:
    """Responses laid out behind their prompts. `row_of[b]` is the row of `prompts` that response b answers;
    `degraded` are the same prompts under a degraded view of their pictures, where one is looked at.
    """

    prompts: Prompts
    row_of: Int64[Tensor, " B"]
    response_ids: Int64[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    degraded: Prompts | None = None

    @classmethod
    def of(cls, prompts: Prompts, responses: Responses) -> "BatchLayout":
        return cls(prompts, responses.row_of, responses.ids, responses.mask)

    @cached_property
    def input_ids(self) -> Int64[Tensor, "B S"]:
        return torch.cat([self.prompts.ids[self.row_of], self.response_ids], dim=1)

    @cached_property
    def _seen(self) -> Bool[Tensor, "B T"]:
        """Up to the last sampled token: a gap in `mask` is still read by what follows it."""
        return self.mask.flip(1).cummax(1).values.flip(1)

    @cached_property
    def attention_mask(self) -> Bool[Tensor, "B S"]:
        return torch.cat([self.prompts.mask[self.row_of], self._seen], dim=1)

    def image_mask(self, image_token: int) -> Bool[Tensor, "B S"]:
        """Image tokens of the prompt; a sampled image token is none."""
        inside = self.input_ids == image_token
        inside[:, self.prompt_length :] = False
        return inside

    @property
    def prompt_length(self) -> int:
        return self.prompts.ids.shape[1]

    @cached_property
    def asked(self) -> list[int]:
        """`row_of` on the host."""
        found: list[int] = self.row_of.tolist()
        return found

    @cached_property
    def shared(self) -> tuple[Prompts, Int64[Tensor, " B"]]:
        """The prompts that are answered here, and which of them each response answers."""
        distinct = sorted(set(self.asked))
        place = [distinct.index(row) for row in self.asked]
        return self.prompts.select(torch.tensor(distinct)), torch.tensor(place, device=self.row_of.device)

    @cached_property
    def lengths(self) -> Int64[Tensor, " B"]:
        """Tokens of each response up to its last sampled one."""
        return self._seen.sum(1)

    def select(self, part: MicroBatch) -> "BatchLayout":
        """A micro-batch."""
        row_of, ids, mask = self.row_of[part.rows], part.cut(self.response_ids), part.cut(self.mask)
        return BatchLayout(self.prompts, row_of, ids, mask, self.degraded)

    def to(self, device: torch.device) -> "BatchLayout":
        degraded = None if self.degraded is None else self.degraded.to(device)
        row_of, ids, mask = (values.to(device) for values in (self.row_of, self.response_ids, self.mask))
        return BatchLayout(self.prompts.to(device), row_of, ids, mask, degraded)


@dataclass(frozen=True)
class Read:
    """What was read so far: last states, cache, mask of tokens, and by how much the family's positions differ from
    a count of tokens (multimodal rope counts an image as less than its tokens; None: they don't).
    """

    hidden: Float[Tensor, "N S D"]
    cache: Any
    mask: Bool[Tensor, "N S"]
    shift: Int64[Tensor, " N"] | None

    def select(self, rows: Int64[Tensor, " M"]) -> "Read":
        """Some rows, or copies of rows. The cache is changed in place: what was read can be gone on from once."""
        self.cache.batch_select_indices(rows)
        return Read(self.hidden[rows], self.cache, self.mask[rows], None if self.shift is None else self.shift[rows])


def stacked(images: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Image processor's tensors of several images as one batch. Families that lay the crops of an image along
    dimension 1 pad it with zeros, which their vision towers leave out.
    """

    def widened(value: Tensor, width: int) -> Tensor:
        return torch.cat([value, value.new_zeros(len(value), width - value.shape[1], *value.shape[2:])], dim=1)

    found = {}
    for name in images[0]:
        values = [image[name] for image in images]
        if values[0].ndim > 1:
            values = [widened(value, max(one.shape[1] for one in values)) for value in values]
        found[name] = torch.cat(values)
    return found
