"""A prompt's keys and values, kept once and read by all its responses.

    response b attends to [ keys of its prompt | its own keys ]

Neither cache changes once its pass is over, so that a layer that runs again (gradient checkpointing) finds what it
found before; the gradient of all responses flows back into the one prompt.
"""

from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


class _Kept(DynamicLayer):
    """Keeps the first keys and values that it is given, and returns what it is given."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
        return key_states, value_states


class _ReadOn(DynamicLayer):
    """Puts the kept keys and values of each row's prompt before those that it is given."""

    def __init__(self, kept: _Kept, row_of: Int64[Tensor, " B"]) -> None:
        super().__init__()
        self.row_of, self.keys, self.values, self.is_initialized = row_of, kept.keys, kept.values, True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return self._behind(self.keys, key_states), self._behind(self.values, value_states)

    def _behind(self, kept: Tensor, given: Tensor) -> Tensor:
        return torch.cat([kept.index_select(0, self.row_of), given], dim=-2)


def prompt_cache() -> Cache:
    """An empty cache for a pass over prompts. It keeps all their keys, beyond a sliding window too: what a token may
    see is the mask's to say.
    """
    return Cache(layer_class_to_replicate=_Kept)


def response_cache(prompts: Cache, row_of: Int64[Tensor, " B"]) -> Cache:
    """What the responses read on from: `row_of[b]` is the prompt of response b."""
    return Cache(layers=[_ReadOn(layer, row_of) for layer in prompts.layers])
