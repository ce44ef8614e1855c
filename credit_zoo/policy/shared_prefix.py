"""A prompt's keys and values, kept once and read by all its responses.

    response b attends to [ keys of its prompt | its own keys ]

Neither cache changes once its pass is over, so that a layer that runs again (gradient checkpointing) finds what it
found before; the gradient of all responses flows back into the one prompt. While responses are drawn there is no
gradient: theirs is a cache that has room for the tokens to come, into which a token is written and nothing copied.
"""

from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer


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


class _Roomy(DynamicLayer):
    """Keys and values in arrays with room for some more tokens; without gradient."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.held: dict[str, Tensor] = {}

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.keys = self._written("keys", self.keys, key_states)
        self.values = self._written("values", self.values, value_states)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self.held = {}  # these rows lie elsewhere now, without room

    def _written(self, name: str, read: Tensor, given: Tensor) -> Tensor:
        """What was read, with what is given behind it, as a view of the array that holds both."""
        before, after = read.shape[-2], read.shape[-2] + given.shape[-2]
        if before == 0:
            return given
        if name not in self.held or self.held[name].shape[-2] < after:
            self.held[name] = given.new_empty(*given.shape[:2], after + self.room, given.shape[3])
            self.held[name][:, :, :before] = read
        self.held[name][:, :, before:after] = given
        return self.held[name][:, :, :after]


def roomy_cache(config: Any, room: int) -> Cache:
    """An empty cache to draw with, for a prompt and `room` tokens behind it; more of them cost a copy. What a family
    keeps otherwise than as all keys and values, as in a sliding window, is kept as transformers keeps it.
    """
    cache = DynamicCache(config=config)
    cache.layers = [_Roomy(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def prompt_cache() -> Cache:
    """An empty cache for a pass over prompts. It keeps all their keys, beyond a sliding window too: what a token may
    see is the mask's to say.
    """
    return Cache(layer_class_to_replicate=_Kept)


def response_cache(prompts: Cache, row_of: Int64[Tensor, " B"]) -> Cache:
    """What the responses read on from: `row_of[b]` is the prompt of response b."""
    return Cache(layers=[_ReadOn(layer, row_of) for layer in prompts.layers])
