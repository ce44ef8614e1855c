"""Tiny checkpoints of the families with random weights, each in its own classes, as folders on disk."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoTokenizer,
    Gemma3Config,
    GenerationConfig,
    InternVLConfig,
    LlavaOnevisionConfig,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2VLConfig,
    Qwen3VLConfig,
    SmolVLMConfig,
)
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.models.auto.modeling_auto import AutoModelForImageTextToText
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from credit_zoo.policy.small_model import build_tokenizer

WORDS = ["find", " find", " the", " area", " of", " side"]
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 1024,
}
MROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}
SIGLIP = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
    "vision_use_head": False,
}


@dataclass(frozen=True)
class Family:
    """How a family's checkpoint is made. `picture` is what its chat template writes for one, and `beginning` before
    all; `named` are the special tokens that its tokenizer knows by name, `plain` those that it does not.
    """

    config: Callable[[Callable[[str], int], Mapping[str, Any]], Any]
    images: Callable[[], Any]
    picture: str
    named: Mapping[str, str] = field(default_factory=dict)
    plain: tuple[str, ...] = ()
    processor: Mapping[str, Any] = field(default_factory=dict)
    beginning: str = ""
    end: str = "<|im_end|>"  # of a turn; the tokenizer's end of sequence is another for Gemma


def qwen_ids(token: Callable[[str], int]) -> dict[str, int]:
    names = {"image": "image_pad", "video": "video_pad", "vision_start": "vision_start", "vision_end": "vision_end"}
    return {f"{name}_token_id": token(f"<|{written}|>") for name, written in names.items()}


def qwen2(token, text):
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 7}
    return Qwen2VLConfig(text_config={**text, "rope_parameters": MROPE}, vision_config=vision, **qwen_ids(token))


def qwen2_5(token, text):
    vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": 32, "num_heads": 2, "intermediate_size": 64}
    vision |= {"patch_size": 7, "window_size": 28, "fullatt_block_indexes": [1]}
    return Qwen2_5_VLConfig(text_config={**text, "rope_parameters": MROPE}, vision_config=vision, **qwen_ids(token))


def qwen3(token, text):
    vision = {"depth": 3, "hidden_size": 32, "out_hidden_size": 32, "num_heads": 2, "intermediate_size": 64}
    vision |= {"patch_size": 7, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    rope = {**MROPE, "mrope_interleaved": True}
    return Qwen3VLConfig(text_config={**text, "rope_parameters": rope}, vision_config=vision, **qwen_ids(token))


def internvl(token, text):
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"image_size": [28, 28], "patch_size": [7, 7]}
    return InternVLConfig(
        text_config={**text, "model_type": "qwen2"},
        vision_config=vision,
        image_token_id=token("<IMG_CONTEXT>"),
        image_seq_length=4,
    )


def smolvlm(token, text):
    vision = {key: SIGLIP[key] for key in SIGLIP if key not in ("model_type", "vision_use_head")}
    return SmolVLMConfig(
        text_config={**text, "model_type": "llama"}, vision_config=vision, image_token_id=token("<image>")
    )


VIDEO = {"fps": 2, "max_frames": 7}
GRID = [[28, 28], [28, 56], [56, 28], [56, 56]]


def llava_onevision(token, text):
    return LlavaOnevisionConfig(
        text_config={**text, "model_type": "qwen2"},
        vision_config=SIGLIP,
        image_token_index=token("<image>"),
        video_token_index=token("<video>"),
        image_grid_pinpoints=GRID,
    )


def gemma3(token, text):
    # The window is shorter than a prompt; the last layer sees everything.
    window = {"sliding_window": 16, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
    return Gemma3Config(
        text_config={**text, **window, "query_pre_attn_scalar": 16, "bos_token_id": token("<bos>")},
        vision_config=SIGLIP,
        mm_tokens_per_image=4,
        boi_token_index=token("<start_of_image>"),
        eoi_token_index=token("<end_of_image>"),
        image_token_index=token("<image_soft_token>"),
    )


def qwen_images():
    return Qwen2VLImageProcessorPil(patch_size=7, merge_size=2, size={"shortest_edge": 28**2, "longest_edge": 70**2})


QWEN = "<|vision_start|><|image_pad|><|vision_end|>"
FAMILIES = {
    "qwen2_vl": Family(qwen2, qwen_images, QWEN),
    "qwen2_5_vl": Family(qwen2_5, qwen_images, QWEN),
    "qwen3_vl": Family(qwen3, qwen_images, QWEN),
    "internvl": Family(
        internvl,
        lambda: GotOcr2ImageProcessorPil(size={"height": 28, "width": 28}, max_patches=3),
        "<IMG_CONTEXT>\n",
        named={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        processor={"image_seq_length": 4},
    ),
    "smolvlm": Family(
        smolvlm,
        lambda: SmolVLMImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28}),
        "<image>",
        named={
            "image_token": "<image>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": "<end_of_utterance>",
        },
        plain=tuple(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)),
        processor={"image_seq_len": 4},
    ),
    "llava_onevision": Family(
        llava_onevision,
        lambda: LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=GRID),
        "<image>\n",
        plain=("<image>", "<video>"),
        processor={"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
    ),
    "gemma3": Family(
        gemma3,
        lambda: Gemma3ImageProcessorPil(size={"height": 28, "width": 28}),
        "<start_of_image>",
        named={
            "image_token": "<image_soft_token>",
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "bos_token": "<bos>",
        },
        plain=("<end_of_turn>",),
        end="<end_of_turn>",
        processor={"image_seq_length": 4},
        beginning="<bos>",
    ),
}


def tokenizer_of(family: Family) -> PreTrainedTokenizerFast:
    """The small model's closed vocabulary with the family's own special tokens."""
    small = build_tokenizer(WORDS)
    template = small.chat_template.replace(QWEN, family.picture)
    named = dict(family.named)
    bos = named.pop("bos_token", None)
    return PreTrainedTokenizerFast(
        tokenizer_object=small.backend_tokenizer,
        pad_token="<pad>",
        eos_token="<|im_end|>",
        unk_token="<unk>",
        bos_token=bos,
        extra_special_tokens=list(family.plain),
        model_specific_special_tokens=named,
        chat_template=family.beginning + template,
    )


def write(name: str, folder: Path) -> Path:
    """A checkpoint with random weights in a folder; skips the test of a family whose processor asks for what is not
    installed.
    """
    if name == "smolvlm":
        pytest.importorskip("num2words")
        if transformers.__version__ < "5.18":
            pytest.importorskip("torchvision")
    family = FAMILIES[name]
    tokenizer = tokenizer_of(family)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    text = {**TEXT, **ends, "vocab_size": (len(tokenizer) + 7) // 8 * 8}
    config = family.config(tokenizer.convert_tokens_to_ids, text)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():  # as they are made, the image is all but unseen, or its weights are 0
            if parameter.ndim > 1:
                parameter.normal_(std=0.1)
    stops = sorted({tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(family.end)})
    model.generation_config = GenerationConfig(**{**ends, "eos_token_id": stops})
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    family.images().save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps(dict(family.processor)))
    (folder / "video_preprocessor_config.json").write_text(json.dumps(VIDEO))
    return folder


def joint(folder: Path) -> Any:
    """The family's own processor of a checkpoint, with a stand-in for its video processor."""
    kind = PROCESSOR_MAPPING[type(AutoConfig.from_pretrained(folder))]
    images = AutoImageProcessor.from_pretrained(folder, backend="pil")
    parts = [images, AutoTokenizer.from_pretrained(folder), None]
    settings, _ = kind.get_processor_dict(folder)
    with mock.patch.object(ProcessorMixin, "check_argument_for_proper_class"):
        processor = kind.from_args_and_dict(parts[: len(kind.get_attributes())], settings)
    processor.video_processor = SimpleNamespace(num_frames=None, fps=None)
    return processor
