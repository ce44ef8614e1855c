"""Writing a policy to disk as a plain Hugging Face folder: safetensors, tokenizer, image processor."""

import os
import shutil
from hashlib import sha256
from pathlib import Path

import torch

from credit_zoo.policy.lora import merged
from credit_zoo.policy.policy import Policy


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
    """A short hash of the weights, whatever file they came from."""
    digest = sha256()
    for name, tensor in sorted(merged(policy.model).items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
