"""Signals from the passes of anybody's Hugging Face model, which need not be a `Policy` and is left as it is.

    with hear(model, rule.needs, input_ids=ids, mask=mask, temperature=1.0) as signals:
        model(input_ids=ids, attention_mask=..., pixel_values=..., ...)
    token_advantage = shape(rule, advantage=A, mask=mask, **signals)

Every row of `input_ids` `[B, S]` holds a prompt and behind it, at the end, the T positions of its response; `mask`
`[B, T]` tells which of them were sampled, and need not be a prefix. The model may read the rows in several calls, in
their order. Visual similarity is taken while its layers run, the rest from its last states and its head; no layer's
states are kept. Image tokens are all that the policy did not sample.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from credit_zoo import masked
from credit_zoo.errors import UsageError, unknown
from credit_zoo.policy.lm_head import TokenStatistics, token_statistics
from credit_zoo.policy.signals import FIRST_LAYER, LayerCosines, counted_layers, hooked, row_similarity
from credit_zoo.types import SIGNALS

# What can be told from the states of one pass.
HEARD = (*FIRST_LAYER, *TokenStatistics._fields)
# What a model may do to its logits behind the head, which statistics from its states would miss.
BEHIND_THE_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


@dataclass(eq=False)
class Ear:
    """What was heard so far."""

    needs: tuple[str, ...]
    input_ids: Int64[Tensor, "B S"]
    mask: Bool[Tensor, "B T"]
    image_token: int | None
    head: nn.Module | None
    temperature: float
    layers: int
    reading: bool = False  # inside a call of the model: a layer that runs outside of one is run again for its gradient
    rows: int = 0  # read so far
    parts: list[dict[str, Tensor]] = field(default_factory=list)
    _cosines: LayerCosines | None = None

    @torch.no_grad()
    def take(self, layer: int, hidden: Tensor) -> None:
        """A layer's states `[n, S, D]` of the next n rows."""
        if not self.reading or self.rows == len(self.mask):
            return
        if layer == 0:
            self._begin(hidden)
        if self._cosines is not None:
            self._cosines.add(layer, hidden)
        if layer == self.layers:
            self._end(hidden)

    def _begin(self, hidden: Tensor) -> None:
        count, length = len(self.mask) - self.rows, self.input_ids.shape[1]
        if hidden.ndim != 3 or hidden.shape[1] != length or len(hidden) > count:
            raise UsageError(
                f"the model reads {list(hidden.shape[:-1])}, expected at most {count} rows of {length} tokens: the "
                f"input_ids of `listen` are {list(self.input_ids.shape)}, of which {self.rows} rows are read. "
                "Packed rows (padding-free) and sequence parallelism are not supported."
            )
        part = slice(self.rows, self.rows + len(hidden))
        wanted = counted_layers(self.needs, self.layers)
        if wanted:
            mask, image = self.mask[part], image_tokens(self.input_ids[part], self.mask[part], self.image_token)

            def cosine(layer: int, states: Tensor) -> Tensor:
                return row_similarity(states, image.to(states.device), mask.shape[1])

            self._cosines = LayerCosines(cosine, mask, wanted)

    def _end(self, hidden: Tensor) -> None:
        part = slice(self.rows, self.rows + len(hidden))
        found = {} if self._cosines is None else self._cosines.means()
        if self.head is not None:
            # Each token's from the state one position before; the first of a row has none.
            length = self.mask.shape[1]
            before = torch.cat([hidden[:, :1], hidden[:, :-1]], 1)[:, -length:]
            measured = token_statistics(before, self.head, self.input_ids[part, -length:], self.temperature)
            found |= {name: values for name, values in measured._asdict().items() if name in self.needs}
        self.parts.append(found)
        self.rows, self._cosines = part.stop, None


class Heard(Mapping[str, Tensor]):
    """The signals by name, `[B, T]` float32, detached, 0 outside the mask; there once the model has read all rows."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear

    def __getitem__(self, name: str) -> Tensor:
        ear = self._ear
        if name not in ear.needs:
            raise KeyError(name)
        if ear.rows < len(ear.mask):
            raise UsageError(
                f"{name} is not there: of {len(ear.mask)} rows the model has read {ear.rows} inside the block of "
                "`listen`. Call the model that was handed to it, on all rows, before the signals are used."
            )
        return masked.fill(torch.cat([part[name] for part in ear.parts]), ear.mask)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ear.needs)

    def __len__(self) -> int:
        return len(self._ear.needs)


def image_tokens(
    input_ids: Int64[Tensor, "B S"], mask: Bool[Tensor, "B T"], image_token: int | None
) -> Bool[Tensor, "B S"]:
    """Which tokens stand for an image: not those that the policy sampled. Raises `UsageError` for a counted row that
    has none.
    """
    found = torch.eq(input_ids, -1 if image_token is None else image_token)
    found[:, found.shape[1] - mask.shape[1] :] &= ~mask
    without = (mask.any(1) & ~found.any(1)).nonzero().flatten().tolist()
    if without:
        raise UsageError(
            f"visual similarity needs image tokens, but row {without[0]} has none. "
            "Drop questions without an image, or choose a shaper that does not look at the image."
        )
    return found


@contextmanager
def hear(
    model: nn.Module,
    needs: Iterable[str],
    *,
    input_ids: Int64[Tensor, "B S"],
    mask: Any,
    temperature: float = 1.0,
    image_token: int | None = None,
) -> Iterator[Heard]:
    """Measures the signals that `needs` names while `model` is called inside the block; a mapping of name to `[B, T]`.

    `model`: a causal or vision-language model of transformers, also under PEFT or DDP; the very object that is called.
    `input_ids` `[B, S]`: what it reads, padded on either side. `mask` `[B, T]`, bool or 0 and 1: the sampled ones among
    the last T positions. `temperature`: of the sampling, for `logp`, `entropy`, `collision`. `image_token`: the token
    that stands for an image, if the model's config does not name it. Raises `UsageError` for a signal that one
    pass cannot give, a row without an image, a model whose layers or head cannot be found, or rows of another length.
    """
    ear = _ear(_inner(model), tuple(needs), input_ids, _bool(mask, input_ids), temperature, image_token)
    if not ear.needs:
        yield Heard(ear)
        return
    calls = [
        model.register_forward_pre_hook(partial(_call, ear, True)),
        model.register_forward_hook(partial(_call, ear, False), always_call=True),
    ]
    try:
        with hooked(_decoder(_inner(model)), ear.take):
            yield Heard(ear)
    finally:
        for hook in calls:
            hook.remove()


def _call(ear: Ear, begins: bool, *_: Any) -> None:
    ear.reading = begins


def _ear(
    model: Any, needs: tuple[str, ...], input_ids: Tensor, mask: Tensor, temperature: float, image_token: int | None
) -> Ear:
    for name in needs:
        if name not in SIGNALS:
            raise unknown("signal", name, SIGNALS)
    if missing := [name for name in needs if name not in HEARD]:
        said = "; ".join(f"{name}: {SIGNALS[name]}" for name in missing)
        raise UsageError(f"one pass of a model cannot give {', '.join(missing)} ({said}); it gives {', '.join(HEARD)}")
    if temperature <= 0:
        raise UsageError(f"temperature must be above 0, got {temperature!r}")
    head = None
    if set(needs) & set(TokenStatistics._fields):
        if mask.shape[1] == input_ids.shape[1] and bool(mask[:, 0].any()):
            raise UsageError("the mask counts the first token of a row, which no state emitted")
        head = _head(model)
    if set(needs) & set(FIRST_LAYER):
        image_token = image_token_of(model) if image_token is None else image_token
        image_tokens(input_ids, mask, image_token)
    layers = len(_decoder(model).layers) if needs else 0
    return Ear(needs, input_ids, mask, image_token, head, temperature, layers)


def _bool(mask: Any, input_ids: Tensor) -> Tensor:
    found = torch.as_tensor(mask, device=input_ids.device)
    if input_ids.ndim != 2 or found.ndim != 2 or len(found) != len(input_ids) or found.shape[1] > input_ids.shape[1]:
        raise UsageError(
            f"mask must be [B, T] of the last T tokens of input_ids [B, S], got {list(found.shape)} and "
            f"{list(input_ids.shape)}"
        )
    if not bool(((found == 0) | (found == 1)).all()):
        raise UsageError(f"mask must be bool, or numbers 0 and 1; got {found.dtype} with other numbers")
    return found.bool()


def _inner(model: Any) -> Any:
    """The model of transformers inside the wrappers of PEFT, DDP and torch.compile."""
    for name in ("module", "_orig_mod"):
        if name in getattr(model, "_modules", {}):
            return _inner(getattr(model, name))
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _decoder(model: Any) -> Any:
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    if not (hasattr(decoder, "layers") and hasattr(decoder, "norm")):
        raise UsageError(
            f"the decoder layers of {type(model).__name__} cannot be found: `get_decoder()` must give a module with "
            "`layers` and `norm`, as the models of transformers have it"
        )
    return decoder


def image_token_of(model: Any) -> int:
    """The token that stands for an image, as the config of a vision-language model names it."""
    config = getattr(model, "config", None)
    for name in ("image_token_id", "image_token_index"):
        if isinstance(found := getattr(config, name, None), int):
            return found
    raise UsageError(
        f"visual similarity needs a model that reads images; the config of {type(model).__name__} names no "
        "image_token_id. Choose a shaper that does not look at the image, or hand over `image_token`."
    )


def _head(model: Any) -> nn.Module:
    config = model.config.get_text_config()
    for name in BEHIND_THE_HEAD:
        if getattr(config, name, None) not in (None, 1, 1.0):
            raise UsageError(
                f"{type(model).__name__} changes its logits behind its head ({name}={getattr(config, name)}), which "
                "statistics from its states would miss: measure them from its logits, and hand them to `shape`"
            )
    head: nn.Module = model.get_output_embeddings()
    return head
