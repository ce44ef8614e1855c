"""Who holds the gradients and moves the weights: torch's own optimizer on one process or under DDP.

An engine is what the step needs of a way to train on several processes: a module to call, a backward pass, an
update, and the whole state by parameter, the same whatever engine wrote it. `credit_zoo.training.zero` is the
other one.
Weights of less than 32 bits are moved through float32 copies, or steps of 1e-6 would be rounded away.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from credit_zoo.registry import UsageError, check_range

WEIGHT = "weight"


class NonFiniteError(ArithmeticError):
    """The loss, a log-probability or the gradient is not finite; every process raises it at the same place."""


@dataclass(frozen=True)
class ParallelConfig:
    """How a run is spread. `processes` is how many the scale is made for (0: any); `zero` a stage of DeepSpeed's
    ZeRO, or none for DDP; `offload` what of it lies in the CPU's memory (stages 2 and 3; parameters: stage 3).
    """

    processes: int = 0
    zero: Literal["none", "0", "1", "2", "3"] = "none"
    offload: Literal["none", "optimizer", "all"] = "none"

    def __post_init__(self) -> None:
        check_range("parallel.processes", self.processes, 0)
        if self.zero not in ("none", "0", "1", "2", "3"):
            raise UsageError(f"parallel.zero must be none, 0, 1, 2 or 3, got {self.zero!r}")
        allowed = {"2": ("none", "optimizer"), "3": ("none", "optimizer", "all")}.get(self.zero, ("none",))
        if self.offload not in allowed:
            raise UsageError(f"parallel.offload must be {' or '.join(allowed)} with parallel.zero={self.zero}")

    def check_world(self, found: int) -> None:
        """Refuses another number of processes than the scale is made for."""
        if self.processes not in (0, found):
            raise UsageError(
                f"parallel.processes={self.processes}, but this run has {found}: launch it with "
                f"torchrun --nproc_per_node={self.processes} -m credit_zoo.run ..., or set parallel.processes=0"
            )


@runtime_checkable
class Engine(Protocol):
    """What moves the weights."""

    @property
    def module(self) -> nn.Module:
        """The policy as it is called in training."""
        ...

    def micro_batch(self, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward of a micro-batch; gradients are shared at the `last`."""
        ...

    def backward(self, loss: Tensor) -> None: ...

    def step(self, rate: float, max_norm: float) -> float:
        """Clips, moves the weights, clears the gradients; returns the norm before clipping.

        Raises `NonFiniteError`.
        """
        ...

    def zero_grad(self) -> None:
        """Drops the gradients."""
        ...

    def whole(self) -> AbstractContextManager[None]:
        """Inside, every process has all weights, to sample from and to write."""
        ...

    def state(self, here: bool = True) -> dict[str, Tensor]:
        """Weights (float32) and optimizer state of all trained parameters as `kind/parameter`. Every process has to
        take part; those that do not want it `here` get nothing.
        """
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes what `state` returned, on any engine and any number of processes."""
        ...


@dataclass(eq=False)
class TorchEngine:
    """torch's optimizer; `module` is the policy or its DDP wrapper. Use `torch_engine` to make one."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    moved: tuple[Tensor, ...]  # what the optimizer holds: the parameters, or float32 copies of them

    def micro_batch(self, last: bool) -> AbstractContextManager[None]:
        return nullcontext() if last else self.accelerator.no_sync(self.module)

    def backward(self, loss: Tensor) -> None:
        # DDP averages gradients over processes; the loss is a share of a sum.
        (loss * self.accelerator.num_processes).backward()  # type: ignore[no-untyped-call]

    def step(self, rate: float, max_norm: float) -> float:
        for parameter, moved in zip(self.parameters, self.moved, strict=True):
            if moved is not parameter:
                moved.grad = None if parameter.grad is None else parameter.grad.float()
        norm = float(nn.utils.clip_grad_norm_(self.moved, max_norm))
        if not math.isfinite(norm):
            self.zero_grad()
            raise NonFiniteError
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self._write_back()
        self.zero_grad()
        return norm

    @torch.no_grad()
    def _write_back(self) -> None:
        for parameter, moved in zip(self.parameters, self.moved, strict=True):
            if moved is not parameter:
                parameter.copy_(moved)

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()
        for parameter in self.parameters:
            parameter.grad = None

    def whole(self) -> AbstractContextManager[None]:
        return nullcontext()

    def state(self, here: bool = True) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, moved in zip(self.names, self.moved, strict=True) if here else ():
            parts: dict[str, Any] = {WEIGHT: moved, **self.optimizer.state.get(moved, {})}
            found |= {f"{kind}/{name}": value.detach().cpu().clone() for kind, value in parts.items()}
        return found

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, moved in zip(self.names, self.moved, strict=True):
            kinds = {key.partition("/")[0]: value for key, value in state.items() if key.partition("/")[2] == name}
            moved.copy_(kinds.pop(WEIGHT))
            # The optimizer counts its steps on the CPU.
            self.optimizer.state[moved] = {
                kind: value.clone() if kind == "step" else value.to(moved) for kind, value in kinds.items()
            }
        self._write_back()


def adamw(parameters: list[Tensor], rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """The one optimizer of reinforcement."""
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=weight_decay)


def torch_engine(accelerator: Accelerator, policy: nn.Module, rate: float, weight_decay: float) -> TorchEngine:
    """One process, or DDP where there are several."""
    trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
    moved = [p if p.dtype == torch.float32 else p.detach().float().requires_grad_() for p in trained.values()]
    optimizer = adamw(moved, rate, weight_decay)
    module = accelerator.prepare(policy)
    return TorchEngine(module, optimizer, accelerator, tuple(trained), tuple(trained.values()), tuple(moved))
