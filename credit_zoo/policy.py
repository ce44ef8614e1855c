"""The policy: a vision-language model, the layout of its batches, and one pass that scores responses.

`Rows` is the only place that knows how prompts and responses lie in a batch (prompts left-padded, responses
right-padded, both to a few fixed lengths). Loop, signals and shapers see `[B, T]` alone. A prompt is read once for
all its responses: they go on from copies of its cache, through which the gradient flows back into it. That equals
one row per response, which is what gradient checkpointing is left with, since it keeps no cache.

    logp[b,t]    = z[b,t,y] - logsumexp(z[b,t])            z: logits / temperature, of the position before token t
    entropy[b,t] = logsumexp(z[b,t]) - sum_v p[v] z[b,t,v]
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForImageTextToText, DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import logging

from credit_zoo.boxes import Frame
from credit_zoo.encoder import Encoder
from credit_zoo.registry import UsageError
from credit_zoo.types import Prompts, Responses

SMALL_MODEL = Path(__file__).parent / "model"
# Its bars for reading and writing a file would stand between ours.
logging.disable_progress_bar()
# Low enough that a forbidden token has probability 0 in float32, finite so that p * z stays 0.
FORBIDDEN_LOGIT = -1e4


@dataclass(frozen=True)
class Model:
    """Which checkpoint, and how it is held. `path` is a folder, a hub id, or "small" (shipped with the package).

    `boxes` is the frame of the coordinates that it speaks (`credit_zoo.boxes.to_frame`): true boxes of real sets are
    told in it, for reward and score alike. It is never guessed: "pixels" of the original picture unless typed.
    """

    path: str = "small"
    revision: str = "main"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    freeze_vision: bool = True
    gradient_checkpointing: bool = False
    boxes: Frame = "pixels"
    logit_chunk: int = 8192  # tokens whose logits exist at once
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise UsageError(f"model.dtype must be float32, bfloat16 or float16, got {self.dtype!r}")
        if self.boxes not in get_args(Frame):
            raise UsageError(f"model.boxes must be one of {', '.join(get_args(Frame))}, got {self.boxes!r}")
        if self.logit_chunk < 1:
            raise UsageError(f"model.logit_chunk must be at least 1 token, got {self.logit_chunk!r}")

    @property
    def source(self) -> str:
        """Where `from_pretrained` reads it."""
        return str(SMALL_MODEL) if self.path == "small" else self.path


@dataclass(frozen=True)
class Rows:
    """Responses laid out behind their prompts. `row_of[b]` is the row of `prompts` that response b answers."""

    prompts: Prompts
    row_of: Int64[Tensor, " B"]
    response_ids: Int64[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]

    @classmethod
    def of(cls, prompts: Prompts, responses: Responses) -> "Rows":
        return cls(prompts, responses.row_of, responses.ids, responses.mask)

    @cached_property
    def input_ids(self) -> Int64[Tensor, "B S"]:
        return torch.cat([self.prompts.ids[self.row_of], self.response_ids], dim=1)

    @cached_property
    def attention_mask(self) -> Bool[Tensor, "B S"]:
        """Up to the last sampled token: a gap in `mask` is still read by what follows it."""
        seen = self.mask.flip(1).cummax(1).values.flip(1)
        return torch.cat([self.prompts.mask[self.row_of], seen], dim=1)

    def image_mask(self, image_token: int) -> Bool[Tensor, "B S"]:
        """Image tokens of the prompt; a sampled image token is none."""
        inside = self.input_ids == image_token
        inside[:, self.prompt_length :] = False
        return inside

    @property
    def prompt_length(self) -> int:
        return self.prompts.ids.shape[1]

    @cached_property
    def shared(self) -> tuple[Prompts, Int64[Tensor, " B"]]:
        """The prompts that are answered here, and which of them each response answers."""
        distinct, row_of = self.row_of.unique(return_inverse=True)
        vision = tuple(self.prompts.vision[row] for row in distinct.tolist())
        return Prompts(self.prompts.ids[distinct], self.prompts.mask[distinct], vision), row_of

    def select(self, index: slice) -> "Rows":
        """A micro-batch."""
        return Rows(self.prompts, self.row_of[index], self.response_ids[index], self.mask[index])

    def to(self, device: torch.device) -> "Rows":
        return Rows(self.prompts.to(device), self.row_of.to(device), self.response_ids.to(device), self.mask.to(device))


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


def token_statistics(
    hidden: Float[Tensor, "*N D"],
    head: nn.Module,
    ids: Int64[Tensor, "*N"],
    finish: Callable[[Tensor], Tensor],
    chunk: int,
) -> tuple[Float[Tensor, "*N"], Float[Tensor, "*N"]]:
    """Log-probability (with gradient) and entropy (without) of `ids`, both float32 in nats.

    `finish` turns raw logits into those that are sampled from. Logits exist for `chunk` tokens at a time and
    are recomputed in the backward pass.
    """

    def one(states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        logits = finish(head(states))
        logsumexp = logits.logsumexp(-1)
        chosen = logits.gather(-1, tokens[:, None])[:, 0]
        with torch.no_grad():
            entropy = logsumexp - (logits.softmax(-1) * logits).sum(-1)
        return chosen - logsumexp, entropy

    pairs = [
        checkpoint(one, states, tokens, use_reentrant=False)
        for states, tokens in zip(hidden.flatten(0, -2).split(chunk), ids.flatten().split(chunk), strict=True)
    ]
    logp, entropy = (torch.cat(parts).view(ids.shape) for parts in zip(*pairs, strict=True))
    return logp, entropy


class Policy(nn.Module):
    """A model with its encoder. `forward` scores responses; wrap this module for distributed training."""

    model: Any  # transformers' classes share no type that has what is used of them here

    def __init__(self, model: nn.Module, encoder: Encoder, settings: Model) -> None:
        super().__init__()
        self.model = model
        self.encoder = encoder
        self.settings = settings
        if settings.freeze_vision:
            for parameter in self.vision_parameters():
                parameter.requires_grad_(False)
        if settings.gradient_checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    @classmethod
    def load(cls, settings: Model, frozen: bool = False) -> "Policy":
        """Reads a checkpoint (safetensors only); `frozen` makes a reference policy."""
        options: dict[str, Any] = {"trust_remote_code": settings.trust_remote_code, "revision": settings.revision}
        try:
            config = AutoConfig.from_pretrained(settings.source, **options)
            encoder = Encoder.load(settings.source, config, settings.trust_remote_code)
            model = AutoModelForImageTextToText.from_pretrained(
                settings.source, dtype=getattr(torch, settings.dtype), use_safetensors=True, **options
            )
        except (OSError, ValueError) as error:
            raise UsageError(
                f"model.path={settings.path} could not be read: {str(error).splitlines()[0]} "
                "Give a folder that holds a checkpoint, or a hub id that this machine can reach."
            ) from error
        policy = cls(model, encoder, settings)
        return policy.requires_grad_(False).eval() if frozen else policy

    @property
    def base(self) -> Any:
        """The model without its language head."""
        return self.model.model

    @property
    def decoder(self) -> Any:
        """The language model's stack of decoder layers: `.layers` and `.norm`."""
        return self.model.get_decoder()

    def vision_parameters(self) -> list[nn.Parameter]:
        """All parameters outside the language model and the head: vision tower and aligner."""
        language = {id(p) for part in (self.decoder, self.model.get_output_embeddings()) for p in part.parameters()}
        return [parameter for parameter in self.model.parameters() if id(parameter) not in language]

    @cached_property
    def _takes_encoded_images(self) -> bool:
        return "mm_encoder_outputs" in inspect.signature(self.base.forward).parameters

    def finish_logits(self, logits: Tensor, temperature: float) -> Float[Tensor, "*N V"]:
        """The logits that are sampled from, float32: tempered, vision tokens forbidden."""
        logits = logits.float() / temperature
        logits[..., list(self.encoder.vision_tokens)] = FORBIDDEN_LOGIT
        return logits

    def vision_inputs(self, vision: Sequence[Mapping[str, Tensor]], row_of: Sequence[int]) -> dict[str, Any]:
        """What the base model wants to know of the images of the rows; every image is encoded once."""
        rows = [vision[i] for i in row_of]
        if not rows[0]:
            return {}
        inputs: dict[str, Any] = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        if self._takes_encoded_images:
            inputs.pop("pixel_values")
            inputs["mm_encoder_outputs"] = {"image": self._encoded_images(vision, row_of)}
        return inputs

    def _encoded_images(
        self, vision: Sequence[Mapping[str, Tensor]], row_of: Sequence[int]
    ) -> BaseModelOutputWithPooling:
        distinct = sorted(set(row_of))
        images = {name: torch.cat([vision[i][name] for i in distinct]) for name in vision[distinct[0]]}
        features = self.base.get_image_features(**images, return_dict=True).pooler_output
        place = {row: k for k, row in enumerate(distinct)}
        return BaseModelOutputWithPooling(pooler_output=tuple(features[place[row]] for row in row_of))

    def base_inputs(self, ids: Tensor, attention_mask: Tensor, image_mask: Tensor) -> dict[str, Tensor]:
        """Token-aligned inputs of the base model, as far as this family takes them."""
        inputs = {"input_ids": ids, "attention_mask": attention_mask.long()}
        takes = inspect.signature(self.base.forward).parameters
        types = {name: image_mask.int() for name in ("mm_token_type_ids", "token_type_ids") if name in takes}
        if not hasattr(self.base, "rope_deltas"):
            # Left padding must not count, or a response would stand further from its prompt than it was trained to.
            types["position_ids"] = (attention_mask.long().cumsum(1) - 1).clamp(min=0)
        return {**inputs, **types}

    def read_prompts(self, prompts: Prompts) -> "Read":
        """Reads prompts into a new cache."""
        cache = DynamicCache(config=self.model.config)
        inputs = self.base_inputs(prompts.ids, prompts.mask, prompts.ids == self.encoder.image_token)
        vision = self.vision_inputs(prompts.vision, range(len(prompts)))
        hidden = self.base(**inputs, **vision, past_key_values=cache, use_cache=True).last_hidden_state
        delta = getattr(self.base, "rope_deltas", None)
        return Read(hidden, cache, prompts.mask, None if delta is None else delta[:, 0])

    def read_on(self, read: "Read", ids: Int64[Tensor, "B K"], seen: Bool[Tensor, "B S"]) -> Float[Tensor, "B K D"]:
        """The states after `ids`, which follow what was read; `seen` masks all that is read then."""
        position = seen.long().cumsum(1)[:, -ids.shape[1] :] - 1
        if read.shift is not None:
            position = (position + read.shift[:, None]).expand(3, -1, -1)
        out = self.base(
            input_ids=ids,
            attention_mask=seen.long(),
            position_ids=position,
            past_key_values=read.cache,
            use_cache=True,
        )
        states: Tensor = out.last_hidden_state
        return states

    def _before_responses(self, rows: Rows) -> Float[Tensor, "B T D"]:
        """The states that emit the response tokens, one position before each."""
        if self.model.is_activation_checkpointing and self.training:
            inputs = self.base_inputs(rows.input_ids, rows.attention_mask, rows.image_mask(self.encoder.image_token))
            vision = self.vision_inputs(rows.prompts.vision, rows.row_of.tolist())
            whole: Tensor = self.base(**inputs, **vision, use_cache=False).last_hidden_state
            return whole[:, rows.prompt_length - 1 : -1]
        prompts, row_of = rows.shared
        read = self.read_prompts(prompts)
        last = read.hidden[row_of, -1:]
        states = self.read_on(read.select(row_of), rows.response_ids, rows.attention_mask)
        return torch.cat([last, states[:, :-1]], dim=1)

    def forward(self, rows: Rows, temperature: float) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
        """Log-probability and entropy of every response token, float32 in nats; junk outside the mask."""
        return token_statistics(
            self._before_responses(rows),
            self.model.get_output_embeddings(),
            rows.response_ids,
            lambda logits: self.finish_logits(logits, temperature),
            self.settings.logit_chunk,
        )
