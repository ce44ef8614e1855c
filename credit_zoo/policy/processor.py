"""Questions to tensors: chat template, image patches and the image tokens that stand for them in the prompt.

Every family's text and image go through its own joint processor, with the PIL image processor whatever else is
installed and without the video processor, which needs torchvision. Qwen2-VL and Qwen2.5-VL take a shorter way to the
same tensors, from tokenizer and image processor alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int64
from PIL.Image import Image, new
from torch import Tensor
from transformers import AutoProcessor, AutoTokenizer, GenerationConfig, ProcessorMixin

# Not from the top: up to 5.17 what stands there asks for torchvision, which the backend "pil" does not need.
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import cached_file

from credit_zoo.answers import TAGS, Size, smart_resize
from credit_zoo.errors import UsageError, first_line
from credit_zoo.types import Prompts

# What stands in a prompt for a picture or a video, by its names in configs and tokenizers: no config names all.
VISION_TOKENS = (
    *("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"),
    *("image_token_index", "video_token_index", "boi_token_index", "eoi_token_index"),
)
TOKENIZER_VISION_TOKENS = (
    *("image_token_id", "video_token_id", "boi_token_id", "eoi_token_id", "context_image_token_id"),
    *("start_image_token_id", "end_image_token_id", "fake_image_token_id", "global_image_token_id"),
)
# Batches are padded to these lengths only: a CPU pays seconds for every new tensor shape.
LENGTHS = (
    16,
    24,
    32,
    40,
    48,
    56,
    64,
    80,
    96,
    128,
    192,
    256,
    384,
    512,
    768,
    1024,
    1536,
    2048,
    3072,
    4096,
    8192,
    16384,
    32768,
)


def padded_length(longest: int) -> int:
    """The shortest of the fixed lengths that holds `longest` tokens."""
    return next((length for length in LENGTHS if length >= longest), longest)


def pad(
    rows: Sequence[Tensor], length: int, value: int, left: bool
) -> tuple[Int64[Tensor, "B S"], Bool[Tensor, "B S"]]:
    """Stacks 1-D id tensors to `[B, length]` with a mask of what is not padding."""
    ids = torch.full((len(rows), length), value, dtype=torch.int64)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for i, row in enumerate(rows):
        place = slice(length - len(row), length) if left else slice(0, len(row))
        ids[i, place] = row
        mask[i, place] = True
    return ids, mask


def joint_processor(kind: type[ProcessorMixin], path: str, tokenizer: Any, **options: Any) -> Any:
    """The family's processor of text and images, without its video processor."""

    class WithoutVideo(kind):
        # SmolVLM's own asks its video processor for the number of frames.
        apply_chat_template = ProcessorMixin.apply_chat_template

        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in kind.get_attributes() if name != "video_processor"]

    WithoutVideo.__name__ = kind.__name__  # a saved processor carries it
    settings, _ = kind.get_processor_dict(path, **options)
    parts = {
        "image_processor": AutoImageProcessor.from_pretrained(path, backend="pil", **options),
        "tokenizer": tokenizer,
        "video_processor": None,
    }
    return WithoutVideo.from_args_and_dict([parts[name] for name in kind.get_attributes()], settings)


def video_settings(path: str, revision: str = "main") -> Mapping[str, Any]:
    """The settings of the video processor, which is not made here: an export keeps them."""
    for name in ("processor_config.json", "video_preprocessor_config.json"):
        file = cached_file(path, name, revision=revision, _raise_exceptions_for_missing_entries=False)
        found = {} if file is None else json.loads(Path(file).read_text(encoding="utf-8"))
        found = found.get("video_processor", {}) if name == "processor_config.json" else found
        if found:
            return dict(found)
    return {}


def vision_tokens(config: Any, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that stand for pictures and videos, the image token first."""
    named = [getattr(config, name, None) for name in VISION_TOKENS]
    named += [getattr(tokenizer, name, None) for name in TOKENIZER_VISION_TOKENS]
    # A tokenizer may name its video token in its vocabulary only.
    named += [tokenizer.get_vocab().get("<video>")]
    return tuple(dict.fromkeys(token for token in named if token is not None))


def stop_tokens(path: str, tokenizer: Any, revision: str = "main") -> tuple[int, ...]:
    """The tokens that end a response: the checkpoint's own for generation, of which Gemma has two."""
    try:
        found = GenerationConfig.from_pretrained(path, revision=revision).eos_token_id
    except OSError:
        found = None
    more = [] if found is None else [found] if isinstance(found, int) else found
    return tuple(dict.fromkeys([tokenizer.eos_token_id, *more]))


@dataclass(frozen=True, eq=False)
class Encoder:
    """Tokenizer and image processor of one checkpoint. `stops` are the tokens that end a response, if it is not the
    tokenizer's end of sequence alone; `video` is what its video processor would be made from.
    """

    tokenizer: Any
    image_processor: Any
    processor: Any
    image_token: int
    vision_tokens: tuple[int, ...]
    stops: tuple[int, ...] = ()
    video: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str, config: Any, trust_remote_code: bool = False, revision: str = "main") -> "Encoder":
        """Reads tokenizer and processor of a folder or hub id, all of one `revision`; `config` is the model's."""
        options = {"trust_remote_code": trust_remote_code, "revision": revision}
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
        image_token = getattr(config, "image_token_id", None)
        if image_token is None:
            raise UsageError(f"model {path} names no image_token_id in its config: it is not a vision-language model")
        stops, video = stop_tokens(path, tokenizer, revision), video_settings(path, revision)
        rest = (vision_tokens(config, tokenizer), stops, video)
        if config.model_type in ("qwen2_vl", "qwen2_5_vl"):
            images = AutoImageProcessor.from_pretrained(path, backend="pil", **options)
            template = Path(path) / "chat_template.jinja"
            if tokenizer.chat_template is None and template.exists():
                tokenizer.chat_template = template.read_text(encoding="utf-8")
            return cls(tokenizer, images, None, image_token, *rest)
        kind = PROCESSOR_MAPPING.get(type(config), None)
        if kind is not None and {*kind.get_attributes()} <= {"image_processor", "tokenizer", "video_processor"}:
            processor = joint_processor(kind, path, tokenizer, **options)
        else:
            processor = AutoProcessor.from_pretrained(path, **options)
        return cls(tokenizer, None, processor, image_token, *rest)

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        return self.stops or (self.tokenizer.eos_token_id,)

    @property
    def pad_token(self) -> int:
        pad_id = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if pad_id is None else pad_id)

    def save(self, folder: Path) -> None:
        """Writes tokenizer and processor into a checkpoint's folder."""
        images = self.image_processor or getattr(self.processor, "image_processor", None)
        for part in (self.tokenizer, self.processor, images):
            if part is not None:
                part.save_pretrained(folder)
        if self.video:
            (folder / "video_preprocessor_config.json").write_text(json.dumps(self.video, indent=2), encoding="utf-8")

    def input_size(self, size: Size) -> Size:
        """The (width, height) at which the model sees a picture of `size`, by the rule of Qwen2-VL and Qwen2.5-VL."""
        rule = self.image_processor
        if rule is None:
            raise UsageError("model.boxes=resized is the frame of Qwen2.5-VL; give thousandths, unit or pixels")
        factor = rule.patch_size * rule.merge_size
        return smart_resize(*size, factor, rule.size["shortest_edge"], rule.size["longest_edge"])

    def prompts(self, items: Sequence[tuple[Image | None, str]]) -> Prompts:
        """Encodes (image, text) pairs."""
        encoded = [self._encoded(image, text) for image, text in items]
        ids, mask = pad(
            [row for row, _ in encoded], padded_length(max(len(r) for r, _ in encoded)), self.pad_token, True
        )
        return Prompts(ids, mask, tuple(vision for _, vision in encoded))

    @cached_property
    def opened(self) -> str:
        """What the chat template has said of every response when sampling begins, from a `<think>` that it leaves
        open; "" for a template that opens none, or closes it again.
        """
        chat, asked = self.tokenizer if self.processor is None else self.processor, "the question's last words"
        user = [{"role": "user", "content": [{"type": "text", "text": asked}]}]
        whole = str(chat.apply_chat_template(user, add_generation_prompt=True, tokenize=False))
        said = whole.rpartition(asked)[2]
        think, think_end, *_ = TAGS
        return said[said.rfind(think) :] if said.rfind(think) > said.rfind(think_end) else ""

    def refusal(self, size: Size | None, text: str) -> str | None:
        """Why the model does not take a prompt with a picture of this (width, height); None if it does."""
        if why := self._stand_ins(text):
            return why
        try:
            if size is not None and self.image_processor is not None:
                self.input_size(size)
            elif size is not None:
                self._one(new("RGB", size), "")  # the family's own processor knows its bounds
        except (ValueError, TypeError, IndexError, ZeroDivisionError) as error:
            return first_line(error)
        return None

    def _stand_ins(self, text: str) -> str | None:
        tokens = self.tokenizer.convert_ids_to_tokens([self.image_token, *self.vision_tokens])
        held = sorted({token for token in tokens if token and token in text})
        return f"its text holds {', '.join(held)}, which to the model stands for a picture" if held else None

    def _encoded(self, image: Image | None, text: str) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One prompt; what the processor does not take is told with the question."""
        size = None if image is None else image.size
        why = self._stand_ins(text)
        try:
            if why is None:
                return self._one(image, text)
        except (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError) as error:
            why = f"{type(error).__name__}: {error}"
        seen = f" and its picture of {size[0]} x {size[1]} pixels" if size else ""
        raise UsageError(f"the model does not take the question {text[:80]!r}{seen}: {why}")

    def _one(self, image: Image | None, text: str) -> tuple[Tensor, Mapping[str, Tensor]]:
        content = [*([{"type": "image"}] if image is not None else []), {"type": "text", "text": text}]
        chat = self.tokenizer if self.processor is None else self.processor
        whole = chat.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        if self.processor is not None:
            # The template has written all special tokens, the one of the beginning too.
            batch = self.processor(
                text=[whole], images=None if image is None else [image], return_tensors="pt", add_special_tokens=False
            )
            ids = batch.pop("input_ids")[0]
            batch.pop("attention_mask")
            return ids, {name: value for name, value in batch.items() if value.shape[:2] != (1, len(ids))}
        if image is None:
            return self._ids(whole), {}
        vision = self.image_processor(images=[image], return_tensors="pt")
        tokens = int(vision["image_grid_thw"].prod()) // self.image_processor.merge_size**2
        token = self.tokenizer.convert_ids_to_tokens(self.image_token)
        return self._ids(whole.replace(token, token * tokens)), dict(vision)

    def _ids(self, text: str) -> Tensor:
        return torch.tensor(self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=torch.int64)

    def responses(self, texts: Sequence[str], length: int | None = None) -> tuple[Tensor, Tensor]:
        """Encodes response texts with the stop token behind each: ids and mask `[B, T]`, right-padded."""
        rows = [torch.cat([self._ids(text), torch.tensor(self.stop_tokens[:1])]) for text in texts]
        return pad(rows, length or padded_length(max(map(len, rows))), self.pad_token, left=False)

    def decode(self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> list[str]:
        """The texts of responses, without special tokens, but with the tags of thought and answer where a checkpoint
        counts these as such.
        """
        tags = set(TAGS) & set(self.tokenizer.all_special_tokens)
        if tags:
            special = {*self.tokenizer.all_special_ids} - {*self.tokenizer.convert_tokens_to_ids(sorted(tags))}
            mask = mask & ~torch.isin(ids, torch.tensor(sorted(special), device=ids.device))
        rows = [row[keep] for row, keep in zip(ids, mask, strict=True)]
        return [str(self.tokenizer.decode(row, skip_special_tokens=not tags)) for row in rows]
