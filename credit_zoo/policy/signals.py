"""Measurements of the policy at its response tokens, `[B, T]` float32, without gradient.

Visual similarity (PEPO, arXiv:2603.22847, section 3) averages over image tokens and decoder layers:

    VS[b,t] = 1/L sum_l 1/N sum_n cos(h[l,b,t], v[l,b,n])
            = 1/L sum_l h^[l,b,t] . u[l,b]           u[l,b] = mean_n v^[l,b,n], x^ = x / |x|

The second line is the same number without the T x N matrix, taken in a forward hook while the layer runs, so no
layer's states are kept. `h[l,b,t]` is the state at token t, after reading it; entropy belongs to the distribution
that emitted the token, one position earlier (both as in PEPO's release). Image tokens are those of the prompt.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
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
from credit_zoo.policy.policy import ALL_LAYERS, Policy, layer_bounds
from credit_zoo.types import TokenSignals

# Numbers of some rows of states that are read twice while they are in a cache, and held in float32.
AT_ONCE = 2**21
# The first layer whose states count: 0 is the embedding output, l > 0 the output of decoder layer l, -1 the last one.
FIRST_LAYER: Mapping[str, int] = {
    "visual_similarity": 1,
    "visual_similarity_release": 0,
    "visual_similarity_last": -1,  # VGPO, arXiv:2604.09349
}
# The one whose layers may be chosen: all, or some, as in PEPO's ablation of shallow layers (1 to 10).
CHOSEN = "visual_similarity"


def counted_layers(needs: Iterable[str], layers: int, chosen: str = ALL_LAYERS) -> dict[str, range]:
    """Of every visual similarity in `needs`, the layers that count, in a decoder of so many layers. `chosen`, "all" or
    "FIRST-LAST" with both counted from 1, are those of `visual_similarity`.
    """
    found = {name: range(FIRST_LAYER[name] % (layers + 1), layers + 1) for name in needs if name in FIRST_LAYER}
    if chosen != ALL_LAYERS and CHOSEN in found:
        first, last = layer_bounds(chosen)
        found[CHOSEN] = range(first, last + 1)
    return found


# From a layer's number and its states to the mean cosine `[B, T]` of each response token to the image; None where the
# states are of something else, which is kept for later.
Cosine = Callable[[int, Tensor], Tensor | None]


@dataclass(eq=False)
class LayerCosines:
    """Running sums over layers of the mean cosine to the image, one per wanted signal."""

    cosine: Cosine
    mask: Bool[Tensor, "B T"]
    counted: Mapping[str, range]
    sums: dict[str, Tensor] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    @torch.no_grad()
    def add(self, layer: int, hidden: Float[Tensor, "_ _ D"]) -> None:
        """Takes one layer's states. A layer that runs again (gradient checkpointing) is ignored."""
        if layer in self.seen or not any(layer in counted for counted in self.counted.values()):
            return
        cosine = self.cosine(layer, hidden)
        if cosine is not None:
            self._count(layer, cosine)

    def _count(self, layer: int, cosine: Float[Tensor, "B T"]) -> None:
        self.seen.add(layer)
        for name, counted in self.counted.items():
            if layer in counted:
                self.sums[name] = self.sums[name] + cosine if name in self.sums else cosine

    def means(self) -> dict[str, Float[Tensor, "B T"]]:
        """The averages over layers, 0 outside the mask."""
        return {name: masked.fill(total / len(self.counted[name]), self.mask) for name, total in self.sums.items()}


@dataclass(eq=False)
class RowCosine:
    """Of a policy's own passes: prompts with their responses, or first the prompts, then the responses."""

    rows: BatchLayout
    image_token: int
    directions: dict[int, Tensor] = field(default_factory=dict)  # per layer `[N, D]`, of the prompts' images

    def __call__(self, layer: int, hidden: Float[Tensor, "_ _ D"]) -> Float[Tensor, "B T"] | None:
        if hidden.shape[1] == self.rows.input_ids.shape[1]:
            return row_similarity(hidden, self.rows.image_mask(self.image_token), self.rows.mask.shape[1])
        if layer not in self.directions:
            self.directions[layer] = _mean_direction(hidden, self._is_image)
            return None
        return _cosine(hidden, self.directions[layer].index_select(0, self.rows.shared[1]))

    @cached_property
    def _is_image(self) -> Bool[Tensor, "N S"]:
        return self.rows.shared[0].ids == self.image_token


@torch.no_grad()
def layer_similarity(
    states: Float[Tensor, "B T D"],
    prompts: Float[Tensor, "N P D"],
    image: Bool[Tensor, "N P"],
    row_of: Int64[Tensor, " B"],
) -> Float[Tensor, "B T"]:
    """The mean cosine of each state to the image of its prompt, in one layer."""
    return _cosine(states, _mean_direction(prompts, image)[row_of])


@torch.no_grad()
def row_similarity(states: Float[Tensor, "B S D"], image: Bool[Tensor, "B S"], length: int) -> Float[Tensor, "B T"]:
    """The mean cosine of each of the last `length` states to the image of its row, in one layer."""
    return _cosine(states[:, states.shape[1] - length :], _mean_direction(states, image))


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
    wanted = counted_layers(needs, len(policy.decoder.layers), policy.settings.similarity_layers)
    cosines = LayerCosines(RowCosine(rows, policy.encoder.image_token), rows.mask, wanted)
    if not wanted:
        yield cosines
        return
    there = rows.image_mask(policy.encoder.image_token).any(1).tolist()
    if not all(there):
        raise UsageError(
            f"visual similarity needs image tokens, but the prompt of row {there.index(False)} has none. "
            "Drop questions without an image, or choose a shaper that does not look at the image."
        )
    with hooked(policy.decoder, cosines.add):
        yield cosines


@contextmanager
def hooked(decoder: Any, take: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Hands the states after every layer to `take`, with the layer's number, while the decoder runs inside the block: 0
    is the embedding output, and the last layer counts after the final norm.
    """
    layers = decoder.layers

    def before_first(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        take(0, args[0] if args else kwargs["hidden_states"])

    def after(layer: int) -> Any:
        return lambda module, args, output: take(layer, output[0] if isinstance(output, tuple) else output)

    hooks = [layers[0].register_forward_pre_hook(before_first, with_kwargs=True)]
    hooks += [module.register_forward_hook(after(number)) for number, module in enumerate(layers[:-1], start=1)]
    hooks.append(decoder.norm.register_forward_hook(after(len(layers))))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


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
