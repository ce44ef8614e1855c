"""How the processes of a run are opened: the precision is the model's own, whatever the environment says.

`accelerate` reads its settings from environment variables too, and `accelerate launch` sets them. What they would put
around the trainer's pass alone (autocast, a compiler) or in an engine's place (FSDP, Megatron) would make sampler and
trainer two policies, and no record would tell.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate import Accelerator

from credit_zoo.errors import UsageError
from credit_zoo.rollout import close_engines

_PRECISION = "ACCELERATE_MIXED_PRECISION"
_DYNAMO = "ACCELERATE_DYNAMO_BACKEND"
_OFF = frozenset({"", "0", "no", "n", "f", "false", "off"})
_SPLIT = "to split the weights, use parallel.zero"
# What each would do, and what to do instead.
_REFUSED = {
    _DYNAMO: ("would compile the trainer's pass and not the sampler's", "there is no setting for it"),
    "ACCELERATE_USE_FSDP": ("would put FSDP around the policy", _SPLIT),
    "ACCELERATE_USE_MEGATRON_LM": ("would put Megatron-LM in the engine's place", _SPLIT),
    "ACCELERATE_USE_PARALLELISM_CONFIG": ("would split the policy by its own plan", _SPLIT),
    "ACCELERATE_USE_DEEPSPEED": ("would configure DeepSpeed a second time", _SPLIT),
}


def check_environment(environment: Mapping[str, str]) -> None:
    """Raises `UsageError` naming the variable of accelerate's that would change how the policy is trained."""
    for name, (effect, instead) in _REFUSED.items():
        if (value := environment.get(name, "")).lower() not in _OFF:
            raise UsageError(
                f"{name}={value} is set in the environment and {effect}: unset it, or launch with torchrun; {instead}"
            )


def open_accelerator(tracker: str | None = None, folder: str | Path | None = None) -> Accelerator:
    """The processes of this run, without autocast; `tracker` writes below `folder`. Raises `UsageError`."""
    check_environment(os.environ)
    cpu = not torch.cuda.is_available()
    accelerator = Accelerator(cpu=cpu, mixed_precision="no", log_with=tracker, project_dir=folder)
    asked = os.environ.get(_PRECISION, "no")
    if asked.lower() not in _OFF and accelerator.is_main_process:
        print(f"{_PRECISION}={asked} is not used: model.dtype alone sets the precision", file=sys.stderr)
    return accelerator


def part_processes(together: bool) -> None:
    """Ends the group of processes before they exit, `together`: once all of them have come here.

    One that exits while another still writes tears down what that one is connected to, and its launcher stops them all.
    Where a process may have broken alone it must not wait for the others, or it would wait for ever.
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return
    if together:
        torch.distributed.barrier()
    close_engines()  # they speak through the group
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
