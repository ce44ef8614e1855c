"""Who holds the gradients and moves the weights: torch's own optimizer on one process or under DDP.

An engine is what the step needs of a way to train on several processes: a module to call, a backward pass, an
update, and the whole state by parameter, the same whatever engine wrote it. `credit_zoo.training.deepspeed_zero` is the
other one.
Weights of less than 32 bits are moved through float32 copies, or steps of 1e-6 would be rounded away.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from credit_zoo.errors import UsageError, check_range

WEIGHT = "weight"
_STEP = "step"


class NonFiniteError(ArithmeticError):
    """The loss, a log-probability or the gradient is not finite; every process raises it at the same place."""


@dataclass(frozen=True)
class ParallelConfig:
    """How a run is spread. `processes` is how many the scale is made for (0: any); `zero` a stage of DeepSpeed's
    ZeRO, or none for DDP; `offload` what of it lies in the CPU's memory (stages 2 and 3; parameters: stage 3).
    """

    processes: int = 0  # that are expected; 0: any number
    zero: Literal["none", "0", "1", "2", "3"] = "none"  # DeepSpeed's ZeRO stage; none: DDP
    offload: Literal["none", "optimizer", "all"] = "none"  # what DeepSpeed keeps in the CPU's memory

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

    def state(self) -> dict[str, Tensor]:
        """Weights (float32) and optimizer state of all trained parameters as `kind/parameter`, in the CPU's memory of
        the first process, which writes them; empty on the others. All processes have to call it.
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
        for gradient, moved in zip(gradients(self.parameters), self.moved, strict=True):
            moved.grad = gradient.to(moved.dtype)
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

    def state(self) -> dict[str, Tensor]:
        # DDP keeps all of it everywhere: nothing has to be gathered.
        return optimizer_state(self.names, self.moved, self.optimizer) if self.accelerator.is_main_process else {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        load_optimizer_state(self.names, self.moved, self.optimizer, state)
        self._write_back()


def gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The gradients, made zero where a parameter had no part in the loss: ZeRO moves it so too, and engines that
    leave it alone would train otherwise.
    """
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def on_cpu(value: Tensor) -> Tensor:
    """A float32 copy in the CPU's memory."""
    return value.detach().to("cpu", torch.float32, copy=True)


def optimizer_state(
    names: Sequence[str], moved: Sequence[Tensor], optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """`Engine.state` of tensors that torch's optimizer moves as they are."""
    found: dict[str, Tensor] = {}
    for name, tensor in zip(names, moved, strict=True):
        parts: dict[str, Any] = {WEIGHT: tensor, **optimizer.state.get(tensor, {})}
        found |= {f"{kind}/{name}": on_cpu(value) for kind, value in parts.items()}
    return found


@torch.no_grad()
def load_optimizer_state(
    names: Sequence[str], moved: Sequence[Tensor], optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]
) -> None:
    """Puts back what `optimizer_state` returned."""
    kinds: dict[str, list[str]] = {name: [] for name in names}
    for key in state:
        kind, _, name = key.partition("/")
        if kind != WEIGHT:
            kinds[name].append(kind)
    for name, tensor in zip(names, moved, strict=True):
        tensor.copy_(state[f"{WEIGHT}/{name}"])
        parts = {kind: state[f"{kind}/{name}"] for kind in kinds[name]}
        # The optimizer counts its steps on the CPU.
        kept = {kind: value.clone() if kind == _STEP else value.to(tensor, copy=True) for kind, value in parts.items()}
        optimizer.state[tensor] = kept


def adamw(parameters: list[Tensor], rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """The one optimizer of reinforcement."""
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=weight_decay)


def refuse_float16(parameters: Iterable[Tensor]) -> None:
    """Raises `UsageError` if any of what is trained is held in float16."""
    if any(parameter.dtype == torch.float16 for parameter in parameters):
        raise UsageError(
            "weights of float16 cannot be trained here: gradients of many tokens are too small for it, and the loss "
            "is not scaled; set model.dtype=bfloat16 or float32. Measuring (eval_only=true) takes float16"
        )


def torch_engine(accelerator: Accelerator, policy: nn.Module, rate: float, weight_decay: float) -> TorchEngine:
    """One process, or DDP where there are several. Refuses an `accelerator` that would put autocast around the policy:
    the sampler's pass has none; and weights of float16, in which small gradients are 0, as no loss is scaled here.
    """
    if accelerator.mixed_precision != "no":
        raise UsageError(
            f"the accelerator's mixed_precision is {accelerator.mixed_precision!r}, which only the trainer's pass "
            "would have: make it with mixed_precision='no' and set model.dtype"
        )
    trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
    refuse_float16(trained.values())
    moved = [p if p.dtype == torch.float32 else p.detach().float().requires_grad_() for p in trained.values()]
    optimizer = adamw(moved, rate, weight_decay)
    module = accelerator.prepare(policy)
    return TorchEngine(module, optimizer, accelerator, tuple(trained), tuple(trained.values()), tuple(moved))
