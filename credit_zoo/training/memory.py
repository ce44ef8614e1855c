"""What weights, gradients and optimizer take of a GPU's memory, by arithmetic."""

from credit_zoo.policy import Sizes

GIB = 2**30


def memory_forecast(found: Sizes, width: int, stage: int, processes: int, offload: str) -> float:
    """GiB on each GPU for weights of `width` bytes, gradients and optimizer under a stage of ZeRO; activations, the
    sampler's cache and what an allocator wastes come on top.
    """

    def share(split: bool) -> float:
        return 1 / processes if split else 1.0

    weights = 0.0 if offload == "all" else found.parameters * width * share(stage == 3)
    gradients = found.trained * width * share(stage >= 2)
    optimizer = 0.0 if offload != "none" else found.trained * (8 + (4 if width < 4 else 0)) * share(stage >= 1)
    return (weights + gradients + optimizer) / GIB
