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

from credit_zoo.registry import UsageError
from credit_zoo.training.engine import WEIGHT, NonFiniteError, ParallelConfig, adamw

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
    """A DeepSpeed engine around the policy. Use `zero` to make one."""

    module: Any
    stage: int
    processes: int
    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]

    @contextmanager
    def micro_batch(self, last: bool) -> Iterator[None]:
        self.module.set_gradient_accumulation_boundary(last)
        yield

    def backward(self, loss: Tensor) -> None:
        # Gradients are averaged over processes; the loss is a share of a sum.
        self.module.backward(loss * self.processes)

    def step(self, rate: float, max_norm: float) -> float:
        for group in self.module.optimizer.param_groups:
            group["lr"] = rate
        held = [p.grad for p in self.parameters if p.grad is not None] if self.stage == 0 else []
        total = nn.utils.get_total_norm(held) if held else None
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
    def _states(self) -> dict[Any, dict[str, Tensor]]:
        """What torch's optimizer holds, by parameter (stage 0 of float32) or by flat partition."""
        held = self.module.optimizer
        states: dict[Any, dict[str, Tensor]] = getattr(held, "optimizer", held).state
        return states

    def state(self, here: bool = True) -> dict[str, Tensor]:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        found: dict[str, Tensor] = {}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            if parameter in self._states or not _partitioned(parameter):
                kinds = {WEIGHT: parameter, **self._states.get(parameter, {})}
            else:
                kinds = {WEIGHT: safe_get_full_fp32_param(parameter)}
                for held in list(self._states.values())[:1]:
                    kinds |= {kind: safe_get_full_optimizer_state(parameter, kind) for kind in MOMENTS}
                    kinds["step"] = held["step"]
            if here:
                found |= {f"{kind}/{name}": value.detach().float().cpu().clone() for kind, value in kinds.items()}
        return found

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """The weights that the layers run with are the caller's to load, before the engine is made: here are those
        that the optimizer moves.
        """
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        for flat in self._flat_partitions():
            started = {kind: torch.zeros_like(flat) for kind in MOMENTS}
            self._states[flat] = {"step": next(v for k, v in state.items() if k.startswith("step/")).clone(), **started}
        if hasattr(self.module.optimizer, "_lazy_init_hp_params_optimizer_state"):
            self.module.optimizer._lazy_init_hp_params_optimizer_state()
        for name, parameter in zip(self.names, self.parameters, strict=True):
            kinds = {kind: state[f"{kind}/{name}"].to(parameter.device) for kind in (WEIGHT, *MOMENTS)}
            if _partitioned(parameter):
                safe_set_full_fp32_param(parameter, kinds[WEIGHT])
                for kind in MOMENTS:
                    safe_set_full_optimizer_state(parameter, kinds[kind], kind)
            else:
                parameter.copy_(kinds.pop(WEIGHT))
                self._states[parameter] = {"step": state[f"step/{name}"].clone(), **kinds}

    def _flat_partitions(self) -> list[Tensor]:
        """The pieces of all weights that this process moves; stage 0 of float32 has none."""
        held = self.module.optimizer
        for name in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups", "fp32_groups_flat_partition"):
            if hasattr(held, name):
                return list(getattr(held, name))
        return []


def _partitioned(parameter: nn.Parameter) -> bool:
    return hasattr(parameter, "ds_id") or hasattr(parameter, "_hp_mapping")


def deepspeed_engine(
    accelerator: Accelerator,
    policy: nn.Module,
    parallel: ParallelConfig,
    rate: float,
    weight_decay: float,
    max_norm: float,
) -> DeepSpeedEngine:
    """A policy under DeepSpeed; its weights are split from here on where the stage says so."""
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
    dtype = next(iter(trained.values())).dtype
    module, *_ = deepspeed.initialize(
        model=policy,
        optimizer=adamw(list(trained.values()), rate, weight_decay),
        config=configuration(parallel, dtype, max_norm),
        dist_init_required=False,
    )
    return DeepSpeedEngine(
        module, int(parallel.zero), accelerator.num_processes, tuple(trained), tuple(trained.values())
    )


def _backend(accelerator: Accelerator) -> str:
    return "gloo" if accelerator.device.type == "cpu" else "nccl"
