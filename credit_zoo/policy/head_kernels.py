"""Kernels of the language head by name: what reduces a block of logits (`credit_zoo.policy.lm_head.Kernel`)."""

from typing import Literal

import torch

from credit_zoo.errors import UsageError
from credit_zoo.policy.lm_head import Kernel, TorchKernel

KernelName = Literal["torch", "compiled", "triton"]


class CompiledKernel(TorchKernel):
    """The reference, its reduction fused by `torch.compile`, which needs a C++ compiler and seconds for each new shape.
    The gradient is left as it is: fused, it takes longer on a CPU.
    """

    def __init__(self) -> None:
        self.reduce = torch.compile(super().reduce)  # type: ignore[method-assign]


def kernel_of(name: KernelName) -> Kernel:
    """A kernel by its name; raises `UsageError` where what it needs is not installed."""
    if name == "triton":
        try:
            from credit_zoo.policy.triton_kernels import TritonKernel
        except ImportError as error:
            raise UsageError(f"model.kernel=triton needs triton, which comes with torch for CUDA ({error})") from None
        return TritonKernel()
    return CompiledKernel() if name == "compiled" else TorchKernel()
