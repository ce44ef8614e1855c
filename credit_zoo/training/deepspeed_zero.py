"""DeepSpeed's ZeRO, called directly: the one module that imports deepspeed.

Accelerate's own plugin is not used: on the CPU it is dropped, or takes the world for one process (accelerate 1.15).
Gradients are shared and weights moved by DeepSpeed; everything else (sums over processes, what is sampled, the
loss) is as under DDP.
"""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from credit_zoo.errors import UsageError
from credit_zoo.training.engine import (
    WEIGHT,
    NonFiniteError,
    ParallelConfig,
    adamw,
    gradients,
    load_optimizer_state,
    on_cpu,
    optimizer_state,
    refuse_float16,
)

MOMENTS = ("exp_avg", "exp_avg_sq")


def configuration(parallel: ParallelConfig, dtype: torch.dtype, max_norm: float) -> dict[str, Any]:
    """What DeepSpeed is told. Micro-batches are counted by the caller, so that it must not divide by their number."""
    zero: dict[str, Any] = {"stage": int(parallel.zero)}
    if parallel.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu"}
    if parallel.offload == "all":
        zero["offload_param"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": max_norm,
        "zero_optimization": zero,
        "bf16": {"enabled": dtype == torch.bfloat16},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


@dataclass(eq=False)
class DeepSpeedEngine:
    """A DeepSpeed engine around the policy. Use `deepspeed_engine` to make one."""

    module: Any
    stage: int
    accelerator: Accelerator
    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]

    @contextmanager
    def micro_batch(self, last: bool) -> Iterator[None]:
        self.module.set_gradient_accumulation_boundary(last)
        yield

    def backward(self, loss: Tensor) -> None:
        # Gradients are averaged over processes; the loss is a share of a sum.
        self.module.backward(loss * self.accelerator.num_processes)

    def step(self, rate: float, max_norm: float) -> float:
        for group in self.module.optimizer.param_groups:
            group["lr"] = rate
        total = nn.utils.get_total_norm(gradients(self.parameters)) if self.stage == 0 else None
        self.module.step()
        found = self.module.get_global_grad_norm()
        norm = float(total if found is None else found)  # type: ignore[arg-type]
        if not math.isfinite(norm):
            raise NonFiniteError
        return norm

    def zero_grad(self) -> None:
        self.module.zero_grad()
        self.module.optimizer.zero_grad()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Under stage 3 the hooks that fetch and release each layer's weights are taken off meanwhile: processes that
        sample do not go through the layers equally often, and would wait for each other for ever.
        """
        if self.stage < 3:
            yield
            return
        from deepspeed.runtime.zero import GatheredParameters

        offload = self.module.optimizer.parameter_offload
        with GatheredParameters(list(self.module.module.parameters())):
            for hooks in (offload.forward_hooks, offload.backward_hooks):
                for hook in hooks:
                    hook.remove()
                hooks.clear()
            yield
            offload._register_deepspeed_module(offload.module)

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of torch, below DeepSpeed's wrapper where there is one."""
        held = self.module.optimizer
        found: torch.optim.Optimizer = getattr(held, "optimizer", held)
        return found

    def state(self) -> dict[str, Tensor]:
        writes = self.accelerator.is_main_process
        if self.stage == 0:
            return optimizer_state(self.names, self._moved(), self._optimizer) if writes else {}
        found: dict[str, Tensor] = {}
        # One parameter after the other: no process but the one that writes ever holds more than one.
        for name, parameter in zip(self.names, self.parameters, strict=True):
            kinds = self._gathered(parameter)
            if writes:
                found |= {f"{kind}/{name}": on_cpu(value) for kind, value in kinds.items()}
        return found

    def _gathered(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """A parameter's weight and state, from the pieces that the processes hold; all of them call it."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        kinds = {WEIGHT: safe_get_full_fp32_param(parameter)}
        for held in list(self._optimizer.state.values())[:1]:
            kinds |= {kind: safe_get_full_optimizer_state(parameter, kind) for kind in MOMENTS}
            kinds["step"] = held["step"]
        return kinds

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The weights that the layers run with are the caller's to load, before the engine is made: here are those
        that the optimizer moves.
        """
        if self.stage == 0:
            load_optimizer_state(self.names, self._moved(), self._optimizer, state)
        else:
            self._load_partitions(state)

    @torch.no_grad()
    def _load_partitions(self, state: Mapping[str, Tensor]) -> None:
        for flat in self._flat_partitions():
            started = {kind: torch.zeros_like(flat) for kind in MOMENTS}
            self._optimizer.state[flat] = {"step": state[f"step/{self.names[0]}"].clone(), **started}
        if self.stage < 3:
            self.module.optimizer._lazy_init_hp_params_optimizer_state()
        for name, parameter in zip(self.names, self.parameters, strict=True):
            self._scatter(parameter, state[f"{WEIGHT}/{name}"], None)
            for kind in MOMENTS:
                self._scatter(parameter, state[f"{kind}/{name}"], kind)

    def _scatter(self, parameter: nn.Parameter, value: Tensor, kind: str | None) -> None:
        """Puts this process's piece of a weight (`kind` None) or of a moment in its place."""
        held: Any = parameter
        value = value.to(parameter.device)
        if self.stage < 3:
            held.set_full_hp_param(value, kind)
            return
        # Not `set_full_hp_param`, which fails where the processes' number does not divide the parameter's size.
        size = held.ds_tensor.numel()
        first = size * self.accelerator.process_index
        piece = value.flatten()[first : first + size]
        piece = nn.functional.pad(piece, (0, size - len(piece)))
        self.module.optimizer.set_local_hp_param(piece, parameter, kind)

    def _flat_partitions(self) -> list[Tensor]:
        """The pieces of all weights that this process moves (stages 1 to 3)."""
        name = "fp32_partitioned_groups_flat" if self.stage == 3 else "single_partition_of_fp32_groups"
        return list(getattr(self.module.optimizer, name))

    def _moved(self) -> list[Tensor]:
        """What stage 0 moves: the parameters, or float32 copies of them."""
        copies = _copies(self.module.optimizer)
        return [copies.get(parameter, parameter) for parameter in self.parameters]


def _copies(optimizer: Any) -> dict[nn.Parameter, Tensor]:
    """The float32 copies that stage 0 keeps of bfloat16 parameters; of others none."""
    groups = zip(getattr(optimizer, "fp16_groups", ()), getattr(optimizer, "fp32_groups", ()), strict=True)
    return {parameter: copy for group, copies in groups for parameter, copy in zip(group, copies, strict=True)}


@torch.no_grad()
def _undo_first_update(optimizer: Any) -> None:
    """DeepSpeed makes the state of stage 0 for bfloat16 by an update with gradients of zero, which decays the weights
    and counts as a step: training would differ from that of every other engine.
    """
    copies = _copies(optimizer)
    for parameter, copy in copies.items():
        copy.copy_(parameter)
    if copies:
        optimizer.optimizer.state.clear()


def _dtype(policy: nn.Module) -> torch.dtype:
    """The one dtype of all parameters; DeepSpeed would cast the others in silence, or fail."""
    refuse_float16(policy.parameters())
    found = {str(p.dtype).removeprefix("torch."): p.dtype for p in policy.parameters()}
    if len(found) == 1 and set(found) <= {"float32", "bfloat16"}:
        return next(iter(found.values()))
    raise UsageError(
        f"parallel.zero needs all weights in float32, or all in bfloat16; this model has {' and '.join(sorted(found))}"
        ": set model.dtype, or parallel.zero=none"
    )


def deepspeed_engine(
    accelerator: Accelerator,
    policy: nn.Module,
    parallel: ParallelConfig,
    rate: float,
    weight_decay: float,
    max_norm: float,
) -> DeepSpeedEngine:
    """A policy under DeepSpeed; its weights are split from here on where the stage says so. Refuses weights of
    several dtypes, or of float16, whose loss would have to be scaled.
    """
    dtype = _dtype(policy)
    if accelerator.device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read when deepspeed is imported
    try:
        import deepspeed
    except ImportError:
        raise UsageError("parallel.zero needs the package deepspeed: pip install 'credit_zoo[deepspeed]'") from None
    deepspeed.utils.logger.setLevel("ERROR")
    if not torch.distributed.is_initialized():
        os.environ.update({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"})
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]
        torch.distributed.init_process_group(_backend(accelerator), store=store, rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend=_backend(accelerator), auto_mpi_discovery=False)
    trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
    module, *_ = deepspeed.initialize(
        model=policy,
        optimizer=adamw(list(trained.values()), rate, weight_decay),
        config=configuration(parallel, dtype, max_norm),
        dist_init_required=False,
    )
    if int(parallel.zero) == 0:
        _undo_first_update(module.optimizer)
    return DeepSpeedEngine(module, int(parallel.zero), accelerator, tuple(trained), tuple(trained.values()))


def _backend(accelerator: Accelerator) -> str:
    return "gloo" if accelerator.device.type == "cpu" else "nccl"
