"""Questions to tensors: chat template, image patches and the image tokens that stand for them in the prompt.

Qwen's families are encoded from tokenizer and PIL image processor alone, because their joint processor needs
torchvision; every other family goes through its own `AutoProcessor`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int64
from PIL.Image import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

from credit_zoo.boxes import Size, smart_resize
from credit_zoo.registry import UsageError
from credit_zoo.types import Prompts

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


@dataclass(frozen=True, eq=False)
class Encoder:
    """Tokenizer and image processor of one checkpoint."""

    tokenizer: Any
    image_processor: Any
    processor: Any
    image_token: int
    vision_tokens: tuple[int, ...]

    @classmethod
    def load(cls, path: str, config: Any, trust_remote_code: bool = False) -> "Encoder":
        """Reads tokenizer and processor of a folder or hub id; `config` is the model's."""
        options = {"trust_remote_code": trust_remote_code}
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
        ids = [getattr(config, name, None) for name in ("image_token_id", "video_token_id", "vision_start_token_id")]
        if ids[0] is None:
            raise UsageError(f"model {path} names no image_token_id in its config: it is not a vision-language model")
        vision = tuple(token for token in (*ids, getattr(config, "vision_end_token_id", None)) if token is not None)
        if config.model_type in ("qwen2_vl", "qwen2_5_vl"):
            images = AutoImageProcessor.from_pretrained(path, backend="pil", **options)
            template = Path(path) / "chat_template.jinja"
            if tokenizer.chat_template is None and template.exists():
                tokenizer.chat_template = template.read_text(encoding="utf-8")
            return cls(tokenizer, images, None, ids[0], vision)
        return cls(tokenizer, None, AutoProcessor.from_pretrained(path, **options), ids[0], vision)

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        return (self.tokenizer.eos_token_id,)

    @property
    def pad_token(self) -> int:
        pad_id = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if pad_id is None else pad_id)

    def save(self, folder: Path) -> None:
        """Writes tokenizer and processor into a checkpoint's folder."""
        for part in (self.tokenizer, self.image_processor, self.processor):
            if part is not None:
                part.save_pretrained(folder)

    def input_size(self, size: Size) -> Size:
        """The (width, height) at which the model sees a picture of `size`, by the rule of Qwen2-VL and Qwen2.5-VL."""
        rule = self.image_processor
        if rule is None:
            raise UsageError("model.boxes=resized is the frame of Qwen2.5-VL; give thousandths, unit or pixels")
        factor = rule.patch_size * rule.merge_size
        return smart_resize(*size, factor, rule.size["shortest_edge"], rule.size["longest_edge"])

    def prompts(self, items: Sequence[tuple[Image | None, str]]) -> Prompts:
        """Encodes (image, text) pairs."""
        encoded = [self._one(image, text) for image, text in items]
        ids, mask = pad(
            [row for row, _ in encoded], padded_length(max(len(r) for r, _ in encoded)), self.pad_token, True
        )
        return Prompts(ids, mask, tuple(vision for _, vision in encoded))

    def _one(self, image: Image | None, text: str) -> tuple[Tensor, Mapping[str, Tensor]]:
        content = [*([{"type": "image"}] if image is not None else []), {"type": "text", "text": text}]
        chat = self.tokenizer if self.processor is None else self.processor
        whole = chat.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        if self.processor is not None:
            batch = self.processor(text=[whole], images=None if image is None else [image], return_tensors="pt")
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
        """The texts of responses, without special tokens."""
        return [self.tokenizer.decode(row[keep], skip_special_tokens=True) for row, keep in zip(ids, mask, strict=True)]
