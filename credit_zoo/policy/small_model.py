"""The small model's parts before training: a Qwen2.5-VL of about a million parameters, its tokenizer and its
image processor.

Unmodified `Qwen2_5_VLForConditionalGeneration`: 84 x 84 pixels, patches of 7 (a glyph of the twins fills one
patch), merged 2 x 2 to 36 image tokens. One token per word (with the space before it), digit and mark; letters
and bytes as a fall-back, so that every text has a lossless encoding.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from credit_zoo.policy.processor import Encoder

WORD = r" ?(?:[a-z]+|[A-Z])"
SPECIAL = (
    "<pad>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
# Image, question, turn: as few tokens as a chat can have.
CHAT_TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)


@dataclass(frozen=True)
class Size:
    """Widths and depths; the defaults give about 1.3 million parameters."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    feed_forward: int = 384
    vision_width: int = 128
    vision_layers: int = 2
    image_side: int = 84  # pixels
    patch: int = 7  # pixels


def words_of(texts: Iterable[str]) -> list[str]:
    """The distinct words of texts, each with and without the space before it, sorted."""
    bare = {word.strip() for text in texts for word in re.findall(WORD, text)}
    return sorted({form for word in bare for form in (word, " " + word)})


def build_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """A closed vocabulary of `words`, printable ASCII characters and bytes."""
    characters = [chr(code) for code in range(32, 127)]
    vocabulary = [("<unk>", 0.0)]
    vocabulary += [(word, -1.0) for word in words if len(word) > 1]
    vocabulary += [(character, -5.0) for character in [*characters, "\n"]]
    vocabulary += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(rf"{WORD}|\d|\s|[^\sA-Za-z\d]"), behavior="isolated")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<|im_end|>",
        unk_token="<unk>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def build_encoder(words: Iterable[str], size: Size) -> Encoder:
    """Tokenizer and image processor together."""
    tokenizer = build_tokenizer(words)
    pixels = size.image_side**2
    images = Qwen2VLImageProcessorPil(
        patch_size=size.patch,
        merge_size=2,
        temporal_patch_size=1,
        size={"shortest_edge": pixels, "longest_edge": pixels},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    ids = tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"])
    return Encoder(tokenizer, images, None, ids[0], tuple(ids))


def build_model(encoder: Encoder, size: Size, seed: int) -> Qwen2_5_VLForConditionalGeneration:
    """The model with random weights."""
    image, video, start, end = encoder.vision_tokens
    tokenizer = encoder.tokenizer
    head = size.width // size.heads
    config = Qwen2_5_VLConfig(
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=True,
        text_config={
            "vocab_size": (len(tokenizer) + 7) // 8 * 8,
            "hidden_size": size.width,
            "intermediate_size": size.feed_forward,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.key_value_heads,
            "max_position_embeddings": 1024,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [head // 2 - 2 * (head * 3 // 16), head * 3 // 16, head * 3 // 16],
            },
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": size.vision_layers,
            "hidden_size": size.vision_width,
            "intermediate_size": 2 * size.vision_width,
            "num_heads": 4,
            "patch_size": size.patch,
            "temporal_patch_size": 1,
            "spatial_merge_size": 2,
            "window_size": size.image_side,
            "fullatt_block_indexes": list(range(size.vision_layers)),
            "out_hidden_size": size.width,
        },
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model
