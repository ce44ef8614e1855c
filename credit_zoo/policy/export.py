"""Writing a policy to disk as a plain Hugging Face folder: safetensors, tokenizer, image processor."""

import os
import shutil
from hashlib import sha256
from pathlib import Path

import torch
from PIL import Image

from credit_zoo.policy.lora import merged
from credit_zoo.policy.policy import Policy
from credit_zoo.policy.processor import Encoder


def export_policy(policy: Policy, folder: Path) -> Path:
    """Writes the folder beside its place and moves it there, so that a half-written one never has its name."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    if not torch.cuda.is_available():
        # Writing imports DeepSpeed where it is installed (accelerate asks whether it wraps the model), and that would
        # warn on every run that it finds no GPU.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    policy.model.save_pretrained(part, state_dict=merged(policy.model))
    policy.encoder.save(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return folder


def weights_digest(policy: Policy) -> str:
    """A short hash of the weights as they are held, bit for bit, whatever file they came from."""
    digest = sha256()
    for name, tensor in sorted(merged(policy.model).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


_TEXT = "Find x, Y and 3.5 + 17*z^2 = -4/9: the AREA of \u2220ABC in cm\u00b2?"
_PICTURES = ((28, 28), (320, 200), (900, 1400))  # pixels


def encoder_digest(encoder: Encoder) -> str:
    """A short hash of what questions become: the token ids of a text with pictures of some sizes and without, the
    tokens that end a response, how pixels are scaled. It tells chat templates, vocabularies and limits of size apart.
    """
    pictures = [None, *(Image.new("RGB", size, (200, 90, 30)) for size in _PICTURES)]
    parts = [str((encoder.stop_tokens, encoder.pad_token, encoder.vision_tokens))]
    for picture in pictures:
        prompts = encoder.prompts([(picture, _TEXT)])
        seen = {name: (*x.shape, round(float(x.flatten()[0]), 3)) for name, x in sorted(prompts.vision[0].items())}
        parts.append(str((prompts.ids[prompts.mask].tolist(), seen)))
    return sha256("\n".join(parts).encode()).hexdigest()[:12]
