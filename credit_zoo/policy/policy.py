"""The policy: a vision-language model and one pass that scores responses.

A prompt is read once for all its responses, in value and in gradient (`shared_prefix`). That equals one row per
response, prompt and picture in each, which `model.layout=plain` keeps for comparison.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.cache_utils import Cache
from transformers.utils import logging

from credit_zoo.answers import Frame
from credit_zoo.errors import UsageError, check_range, first_line
from credit_zoo.policy import lora
from credit_zoo.policy.batch_layout import BatchLayout, Read, stacked
from credit_zoo.policy.divergence import ComparedStatistics, compared_statistics
from credit_zoo.policy.head_kernels import KernelName, kernel_of
from credit_zoo.policy.lm_head import TokenStatistics, finish_logits, token_statistics
from credit_zoo.policy.processor import Encoder
from credit_zoo.policy.shared_prefix import prompt_cache, response_cache
from credit_zoo.policy.truncation import WHOLE, Truncation
from credit_zoo.types import Prompts

SMALL_MODEL = Path(__file__).parent / "small"
# What ships with the package: slips around right answers, and habits that make a wrong answer the most probable one,
# the latter also after a longer teaching, above all of boxes and patterns.
SHIPPED = {name: SMALL_MODEL.with_name(name) for name in ("small", "habits", "habits_fluent")}
# Its bars for reading and writing a file would stand between ours.
logging.disable_progress_bar()
# Of what an image processor returns, that which the vision tower alone reads.
PIXELS = ("pixel_values", "pixel_attention_mask")
ALL_LAYERS = "all"
# Kinds of layers that transformers names: those that attend to all before, and to what is in a window.
_EVERYTHING, _WINDOW = "full_attention", "sliding_attention"


def layer_bounds(chosen: str) -> tuple[int, int]:
    """The first and the last decoder layer of "FIRST-LAST", counted from 1."""
    first, _, last = chosen.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise UsageError(
            f"model.similarity_layers must be all, or the first and the last decoder layer as in 1-10, got {chosen!r}"
        )
    return int(first), int(last)


@dataclass(frozen=True)
class ModelConfig:
    """Which checkpoint, and how it is held. `path` is a folder, a hub id, or a shipped one (`SHIPPED`).

    `boxes` is the frame of the coordinates that it speaks (`answers.to_frame`): true boxes of real sets are
    told in it, for reward and score alike. It is never guessed: "pixels" of the original picture unless typed.
    `lora_rank` above 0 trains adapters of the language model and nothing else. `layout` shared reads a prompt once for
    all its responses, plain once for each, which gives the same numbers and takes longer.
    """

    path: str = "small"  # a folder, a hub id, or a shipped one: small, habits, habits_fluent
    revision: str = "main"  # a branch, tag or commit of the hub
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"  # of the weights; signals are float32
    freeze_vision: bool = True  # train the language model alone
    gradient_checkpointing: bool = False  # read layers twice, to save memory
    boxes: Frame = "pixels"  # the numbers in which it tells a box
    similarity_layers: str = ALL_LAYERS  # decoder layers of visual_similarity: all, or FIRST-LAST from 1
    layout: Literal["shared", "plain"] = "shared"  # shared: a prompt is read once for its group; plain: for each
    logits_at_once: int = 2**22  # 16 MiB in float32
    kernel: KernelName = "torch"  # what reduces them
    lora_rank: int = 0  # rank of adapters; 0: all weights are trained
    lora_alpha: float = 16.0  # scale of the adapters, over the rank
    trust_remote_code: bool = False  # run the checkpoint's own code

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise UsageError(f"model.dtype must be float32, bfloat16 or float16, got {self.dtype!r}")
        if self.boxes not in get_args(Frame):
            raise UsageError(f"model.boxes must be one of {', '.join(get_args(Frame))}, got {self.boxes!r}")
        if self.similarity_layers != ALL_LAYERS:
            layer_bounds(self.similarity_layers)
        if self.layout not in ("shared", "plain"):
            raise UsageError(f"model.layout must be shared or plain, got {self.layout!r}")
        if self.kernel not in get_args(KernelName):
            raise UsageError(f"model.kernel must be one of {', '.join(get_args(KernelName))}, got {self.kernel!r}")
        check_range("model.logits_at_once", self.logits_at_once, 1)
        check_range("model.lora_rank", self.lora_rank, 0)
        check_range("model.lora_alpha", self.lora_alpha, 0, open_low=True)

    @property
    def source(self) -> str:
        """Where `from_pretrained` reads it."""
        return str(SHIPPED.get(self.path, self.path))


class Policy(nn.Module):
    """A model with its encoder. `forward` scores responses; wrap this module for distributed training."""

    model: Any  # transformers' classes share no type that has what is used of them here

    def __init__(self, model: nn.Module, encoder: Encoder, settings: ModelConfig) -> None:
        super().__init__()
        self.model = model
        self.encoder = encoder
        self.settings = settings
        self.kernel = kernel_of(settings.kernel)
        chosen, layers = settings.similarity_layers, len(self.decoder.layers)
        if chosen != ALL_LAYERS and layer_bounds(chosen)[1] > layers:
            raise UsageError(
                f"model.similarity_layers={chosen} asks for layer {layer_bounds(chosen)[1]}, but this model's decoder "
                f"has {layers}"
            )
        if settings.freeze_vision:
            for parameter in self.vision_parameters():
                parameter.requires_grad_(False)
        if settings.lora_rank:
            lora.adapt(self.model, self.decoder, settings.lora_rank, settings.lora_alpha)
        if settings.gradient_checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            for layer in self.decoder.layers:
                # transformers takes the cache away from a layer that may run again; ours bear it.
                layer._can_checkpoint_with_cache = True

    @classmethod
    def load(cls, settings: ModelConfig, frozen: bool = False) -> "Policy":
        """Reads a checkpoint (safetensors only); `frozen` makes a reference policy."""
        options: dict[str, Any] = {"trust_remote_code": settings.trust_remote_code, "revision": settings.revision}
        try:
            config = AutoConfig.from_pretrained(settings.source, **options)
            encoder = Encoder.load(settings.source, config, **options)
            model = AutoModelForImageTextToText.from_pretrained(
                settings.source, dtype=getattr(torch, settings.dtype), use_safetensors=True, **options
            )
        except (OSError, ValueError, ImportError) as error:
            raise UsageError(
                f"model.path={settings.path} could not be read: {first_line(error)} "
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
        """The logits that are sampled from, float32: tempered, vision tokens forbidden. May change them in place."""
        return finish_logits(logits, temperature, self.encoder.vision_tokens)

    def vision_inputs(self, vision: Sequence[Mapping[str, Tensor]], row_of: Sequence[int]) -> dict[str, Any]:
        """What the base model wants to know of the images of the rows; every image is encoded once."""
        seen = [row for row in row_of if vision[row]]
        if not seen:
            return {}
        if not self._takes_encoded_images:
            return stacked([vision[row] for row in seen])
        rest = [{name: vision[row][name] for name in vision[row] if name not in PIXELS} for row in seen]
        return {**stacked(rest), "mm_encoder_outputs": {"image": self._encoded_images(vision, seen)}}

    def _encoded_images(self, vision: Sequence[Mapping[str, Tensor]], row_of: Sequence[int]) -> Any:
        """The vision tower's output, its features in the order of the rows."""
        distinct = sorted(set(row_of))
        place = [distinct.index(row) for row in row_of]
        encoded = self.base.get_image_features(**stacked([vision[row] for row in distinct]), return_dict=True)
        features = encoded.pooler_output
        if isinstance(features, Tensor):  # one entry per crop, all of a size; elsewhere one per image
            crops = features.split([vision[row]["pixel_values"].shape[:-3].numel() for row in distinct])
            encoded.pooler_output = torch.cat([crops[k] for k in place])
        else:
            encoded.pooler_output = tuple(features[k] for k in place)
        if "deepstack_features" in encoded:
            encoded.deepstack_features = [tuple(layer[k] for k in place) for layer in encoded.deepstack_features]
        return encoded

    def base_inputs(
        self, ids: Tensor, attention_mask: Tensor, image_mask: Tensor, pictured: bool | None = None
    ) -> dict[str, Tensor]:
        """Token-aligned inputs of the base model, as far as this family takes them. `pictured` says whether there is
        any image token, for callers who know; an accelerator would have to be waited for to see it.
        """
        pictured = bool(image_mask.any()) if pictured is None else pictured
        inputs = {"input_ids": ids, "attention_mask": attention_mask.long()}
        takes = inspect.signature(self.base.forward).parameters
        types = {name: image_mask.int() for name in ("mm_token_type_ids", "token_type_ids") if name in takes}
        if not hasattr(self.base, "rope_deltas") or not pictured:
            # Left padding must not count, or a response would stand further from its prompt than it was trained to.
            # Without an image, multimodal rope counts padding, and keeps the shift of the batch before.
            types["position_ids"] = (attention_mask.long().cumsum(1) - 1).clamp(min=0)
        return {**inputs, **types}

    def read_prompts(self, prompts: Prompts, cache: Cache) -> "Read":
        """Reads prompts into an empty cache."""
        image_mask = prompts.ids == self.encoder.image_token
        inputs = self.base_inputs(prompts.ids, prompts.mask, image_mask, any(map(bool, prompts.vision)))
        vision = self.vision_inputs(prompts.vision, range(len(prompts)))
        # The cache is there: `use_cache` would only make a checkpointed layer complain.
        hidden = self.base(**inputs, **vision, past_key_values=cache, use_cache=False).last_hidden_state
        shift = None if "position_ids" in inputs else self.base.rope_deltas[:, 0]
        return Read(hidden, cache, prompts.mask, shift)

    @cached_property
    def _reach(self) -> Mapping[str, int]:
        """How many tokens each kind of layer looks back over, 0 for all of them; empty where attention takes no ready
        mask of what may be seen.
        """
        config = self.model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or [_EVERYTHING])
        if config._attn_implementation != "sdpa" or not {_EVERYTHING} <= kinds <= {_EVERYTHING, _WINDOW}:
            return {}
        return {kind: config.sliding_window if kind == _WINDOW else 0 for kind in kinds}

    def _attention_mask(
        self, seen: Tensor, length: int, padded: bool | None
    ) -> Tensor | dict[str, Tensor | None] | None:
        """What transformers is told of what may be seen by the last `length` tokens; it would make the same of `seen`,
        but has to wait for an accelerator to see whether all is.
        """
        if length > 1 or padded is None or not self._reach:
            return seen.long()
        masks = {kind: seen[:, None, None, -back:] if padded else None for kind, back in self._reach.items()}
        return masks if _WINDOW in masks else masks[_EVERYTHING]

    def read_on(
        self,
        cache: Cache,
        shift: Int64[Tensor, " B"] | None,
        ids: Int64[Tensor, "B K"],
        seen: Bool[Tensor, "B S"],
        padded: bool | None = None,
    ) -> Float[Tensor, "B K D"]:
        """The states after `ids`, which follow what the cache holds; `seen` masks all that is read then, `shift` is
        that of `Read`. `padded` says whether there is anything in `seen` that is not, for callers who know.
        """
        position = seen.long().cumsum(1)[:, -ids.shape[1] :] - 1
        if shift is not None:
            position = (position + shift[:, None]).expand(3, -1, -1)
        out = self.base(
            input_ids=ids,
            attention_mask=self._attention_mask(seen, ids.shape[1], padded),
            position_ids=position,
            past_key_values=cache,
            use_cache=False,
        )
        states: Tensor = out.last_hidden_state
        return states

    def _before_responses(self, rows: BatchLayout) -> Float[Tensor, "B T D"]:
        """The states that emit the response tokens, one position before each."""
        if self.settings.layout == "plain":
            image_mask = rows.image_mask(self.encoder.image_token)
            pictured = any(rows.prompts.vision[row] for row in rows.asked)
            inputs = self.base_inputs(rows.input_ids, rows.attention_mask, image_mask, pictured)
            vision = self.vision_inputs(rows.prompts.vision, rows.asked)
            whole: Tensor = self.base(**inputs, **vision, use_cache=False).last_hidden_state
            return whole[:, rows.prompt_length - 1 : -1]
        prompts, row_of = rows.shared
        read = self.read_prompts(prompts, prompt_cache())
        shift = None if read.shift is None else read.shift[row_of]
        behind = response_cache(read.cache, row_of)
        states = self.read_on(behind, shift, rows.response_ids, rows.attention_mask)
        return torch.cat([read.hidden[:, -1:].index_select(0, row_of), states[:, :-1]], dim=1)

    def forward(
        self,
        rows: BatchLayout,
        temperature: float,
        truncation: Truncation = WHOLE,
        beside: Float[Tensor, "B T D"] | None = None,
        entropy_gradient: bool = False,
    ) -> TokenStatistics | ComparedStatistics:
        """The statistics of every response token, `[B, T]`, under the distribution that temperature and truncation make
        of the model's; junk outside the mask. With the states of another pass `beside` them, both are compared; with
        `entropy_gradient` the entropy has one.
        """
        states, head = self._before_responses(rows), self.model.get_output_embeddings()
        at_once, forbidden = self.settings.logits_at_once, self.encoder.vision_tokens
        settings = (rows.response_ids, temperature, forbidden, at_once, self.kernel, truncation)
        if beside is not None:
            return compared_statistics(beside, states, head, *settings)
        return token_statistics(states, head, *settings, entropy_gradient)
