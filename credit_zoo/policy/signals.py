"""Measurements of the policy at its response tokens, `[B, T]` float32, without gradient.

Visual similarity (PEPO, arXiv:2603.22847, section 3) averages over image tokens and decoder layers:

    VS[b,t] = 1/L sum_l 1/N sum_n cos(h[l,b,t], v[l,b,n])
            = 1/L sum_l h^[l,b,t] . u[l,b]           u[l,b] = mean_n v^[l,b,n], x^ = x / |x|

The second line is the same number without the T x N matrix, taken in a forward hook while the layer runs, so no
layer's states are kept. `h[l,b,t]` is the state at token t, after reading it; entropy belongs to the distribution
that emitted the token, one position earlier (both as in PEPO's release). Image tokens are those of the prompt.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import UsageError
from credit_zoo.policy.batch_layout import BatchLayout
from credit_zoo.policy.lm_head import TokenStatistics
from credit_zoo.policy.policy import Policy
from credit_zoo.types import TokenSignals

# Numbers of some rows of states that are read twice while they are in a cache, and held in float32.
AT_ONCE = 2**21
# The first layer whose states count: 0 is the embedding output, l > 0 the output of decoder layer l, -1 the last one.
FIRST_LAYER: Mapping[str, int] = {
    "visual_similarity": 1,
    "visual_similarity_release": 0,
    "visual_similarity_last": -1,  # VGPO, arXiv:2604.09349
}


@dataclass(eq=False)
class LayerCosines:
    """Running sums over layers of the mean cosine to the image, one per wanted signal."""

    rows: BatchLayout
    image_token: int
    first_layer: Mapping[str, int]
    directions: dict[int, Tensor] = field(default_factory=dict)  # per layer `[N, D]`, of the prompts' images
    sums: dict[str, Tensor] = field(default_factory=dict)
    layers: dict[str, int] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    @torch.no_grad()
    def add(self, layer: int, hidden: Float[Tensor, "_ _ D"]) -> None:
        """Takes one layer's states: prompts with their responses, or first the prompts, then the responses.

        A layer that runs again (gradient checkpointing) is ignored.
        """
        if layer in self.seen or layer < min(self.first_layer.values()):
            return
        if hidden.shape[1] == self.rows.input_ids.shape[1]:
            image = self.rows.image_mask(self.image_token)
            direction = _mean_direction(hidden, image)
            self._count(layer, _cosine(hidden[:, self.rows.prompt_length :], direction))
            return
        if layer not in self.directions:
            self.directions[layer] = _mean_direction(hidden, self._is_image)
        else:
            self._count(layer, _cosine(hidden, self.directions[layer].index_select(0, self.rows.shared[1])))

    @cached_property
    def _is_image(self) -> Bool[Tensor, "N S"]:
        return self.rows.shared[0].ids == self.image_token

    def _count(self, layer: int, cosine: Float[Tensor, "B T"]) -> None:
        self.seen.add(layer)
        for name, first in self.first_layer.items():
            if layer >= first:
                self.sums[name] = self.sums[name] + cosine if name in self.sums else cosine
                self.layers[name] = self.layers.get(name, 0) + 1

    def means(self) -> dict[str, Float[Tensor, "B T"]]:
        """The averages over layers, 0 outside the mask."""
        return {name: masked.fill(total / self.layers[name], self.rows.mask) for name, total in self.sums.items()}


@torch.no_grad()
def layer_similarity(
    states: Float[Tensor, "B T D"],
    prompts: Float[Tensor, "N P D"],
    image: Bool[Tensor, "N P"],
    row_of: Int64[Tensor, " B"],
) -> Float[Tensor, "B T"]:
    """The mean cosine of each state to the image of its prompt, in one layer."""
    return _cosine(states, _mean_direction(prompts, image)[row_of])


def _cosine(hidden: Float[Tensor, "B T D"], direction: Float[Tensor, "B D"]) -> Float[Tensor, "B T"]:
    rows = max(AT_ONCE // hidden[0].numel(), 1)
    found = []
    for part, toward in zip(torch.split(hidden, rows), torch.split(direction, rows), strict=True):
        states = part.float()
        found.append(_times(states, toward) / _length(states))
    return torch.cat(found)


def _times(matrices: Float[Tensor, "B M K"], vectors: Float[Tensor, "B K"]) -> Float[Tensor, "B M"]:
    # Of large matrices a CPU multiplies one at a time twice as fast as a batch.
    if matrices[0].numel() < AT_ONCE // 2:
        return (matrices @ vectors[:, :, None])[..., 0]
    return torch.stack([matrix @ vector for matrix, vector in zip(matrices, vectors, strict=True)])


def _length(states: Float[Tensor, "N S D"]) -> Float[Tensor, "N S"]:
    lengths: Tensor = torch.linalg.vector_norm(states, dim=-1)
    return lengths.clamp(min=1e-12)


def _mean_direction(hidden: Float[Tensor, "N S D"], image: Bool[Tensor, "N S"]) -> Float[Tensor, "N D"]:
    """U of the equation, as one product of weights with states: nothing of their size is made."""
    states = hidden.float()
    share = image / _length(states) / image.sum(1, keepdim=True).clamp(min=1)
    return _times(states.transpose(1, 2), share)


@contextmanager
def listen(policy: Policy, rows: BatchLayout, needs: Iterable[str]) -> Iterator[LayerCosines]:
    """Collects the wanted visual similarities during the forward passes inside the block.

    Raises `UsageError` if a row has no image. The last decoder layer counts after the final norm, as
    `output_hidden_states` has it.
    """
    count = len(policy.decoder.layers) + 1
    wanted = {name: FIRST_LAYER[name] % count for name in needs if name in FIRST_LAYER}
    cosines = LayerCosines(rows, policy.encoder.image_token, wanted)
    if not wanted:
        yield cosines
        return
    there = rows.image_mask(policy.encoder.image_token).any(1).tolist()
    if not all(there):
        raise UsageError(
            f"visual similarity needs image tokens, but the prompt of row {there.index(False)} has none. "
            "Drop questions without an image, or choose a shaper that does not look at the image."
        )
    hooks = list(_hooks(policy, cosines))
    try:
        yield cosines
    finally:
        for hook in hooks:
            hook.remove()


def _hooks(policy: Policy, cosines: LayerCosines) -> Iterator[Any]:
    layers = policy.decoder.layers

    def before_first(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        cosines.add(0, args[0] if args else kwargs["hidden_states"])

    def after(layer: int) -> Any:
        return lambda module, args, output: cosines.add(layer, output[0] if isinstance(output, tuple) else output)

    yield layers[0].register_forward_pre_hook(before_first, with_kwargs=True)
    for number, module in enumerate(layers[:-1], start=1):
        yield module.register_forward_hook(after(number))
    yield policy.decoder.norm.register_forward_hook(after(len(layers)))


def token_signals(
    needs: Iterable[str],
    found: TokenStatistics,
    cosines: LayerCosines,
    mask: Bool[Tensor, "B T"],
    more: Mapping[str, Float[Tensor, "B T"]] = MappingProxyType({}),
) -> TokenSignals:
    """The signals that `needs` names, and no others, 0 outside the mask; `more` are some by name."""
    statistics = {name: values.detach() for name, values in found._asdict().items()}
    measured = {**statistics, **cosines.means(), **more}
    return TokenSignals({name: masked.fill(measured[name], mask) for name in needs})
