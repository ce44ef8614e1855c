"""Low-rank adapters (arXiv:2106.09685) on the linear layers of the language model, through the library peft."""

from typing import Any

import torch
from torch import Tensor, nn

from credit_zoo.errors import UsageError


def adapt(model: Any, decoder: nn.Module, rank: int, alpha: float) -> None:
    """Puts adapters beside every linear layer of the decoder; nothing but them requires a gradient then."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UsageError("model.lora_rank needs the library peft: pip install peft") from error
    inside = {id(module) for module in decoder.modules() if isinstance(module, nn.Linear)}
    targets = [name for name, module in model.named_modules() if id(module) in inside]
    model.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets), model)


@torch.no_grad()
def merged(model: Any) -> dict[str, Tensor]:
    """The model's weights with the adapters added in, under the names that they have without adapters."""
    weights = {}
    for name, tensor in model.state_dict().items():
        layer, _, rest = name.rpartition(".base_layer.")
        if layer and rest == "weight":
            tensor = tensor + model.get_submodule(layer).get_delta_weight("default").to(tensor.dtype)
        if ".lora_" not in name:
            weights[f"{layer}.{rest}" if layer else name] = tensor
    return weights
