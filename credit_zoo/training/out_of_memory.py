"""Running out of memory, told by what was being done, with the settings that touch it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch

from credit_zoo.errors import first_line

Phase = Literal["sampling", "training", "updating", "measuring"]
ADVICE: Mapping[Phase, str] = {
    "sampling": "lower train.rollout_tokens, which changes no number, or sample elsewhere with rollout=vllm",
    "training": (
        "set train.micro_tokens, halve train.micro_batch or model.logits_at_once, set "
        "model.gradient_checkpointing=true, or split more with parallel.zero"
    ),
    "updating": "split the optimizer's state with parallel.zero=2, move it with parallel.offload, or train adapters "
    "with model.lora_rank=16",
    "measuring": "lower eval.tokens or eval.batch",
}


class OutOfMemory(RuntimeError):
    """Memory ran out in a phase of a run; the message names the settings that change how much it takes."""

    def __init__(self, phase: Phase, error: BaseException) -> None:
        self.phase = phase
        super().__init__(f"out of memory in {phase} ({first_line(error)}): {ADVICE[phase]}")


@contextmanager
def memory_of(phase: Phase) -> Iterator[None]:
    """Turns running out of memory, a GPU's or the CPU's, into `OutOfMemory`; what is inside may have named it."""
    try:
        yield
    except OutOfMemory:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(phase, error) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise OutOfMemory(phase, error) from error
