"""How many parameters a model has, counted from its config without its weights."""

import json
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from credit_zoo.policy.policy import ModelConfig
from credit_zoo.registry import CONFIGS


@dataclass(frozen=True)
class Sizes:
    """Parameters of a model: all of them, and those that are trained; and its decoder layers."""

    parameters: int
    trained: int
    layers: int = 0


def kept_config(name: str) -> Any:
    """The config that is kept for the file `configs/model/NAME`, if there is one."""
    kept = CONFIGS / "model" / f"{name}.json"
    return AutoConfig.for_model(**json.loads(kept.read_text(encoding="utf-8"))) if kept.exists() else None


def sizes(model: ModelConfig, name: str) -> Sizes | None:
    """Counted on a model without memory, from its config: the checkpoint's, or the one that is kept for the file
    `configs/model/NAME`; None where neither is at hand.
    """
    try:
        config = kept_config(name) or AutoConfig.from_pretrained(
            model.source, trust_remote_code=model.trust_remote_code, revision=model.revision
        )
    except (OSError, ValueError):
        return None
    with torch.device("meta"):
        made = AutoModelForImageTextToText.from_config(config)
    language = {id(p) for part in (made.get_decoder(), made.get_output_embeddings()) for p in part.parameters()}
    counts = [(p.numel(), id(p) in language or not model.freeze_vision) for p in made.parameters()]
    trained = sum(count for count, is_trained in counts if is_trained)
    return Sizes(sum(count for count, _ in counts), trained, config.get_text_config().num_hidden_layers)
