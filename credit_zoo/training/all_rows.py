"""The rows of all processes in one call, for a rule or an estimator that looks at more than one response."""

from collections.abc import Callable

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from credit_zoo.objective import Estimator
from credit_zoo.registry import ESTIMATORS
from credit_zoo.types import ShaperInputs, TokenSignals


def over_all_processes(
    accelerator: Accelerator, x: ShaperInputs, shape: Callable[[ShaperInputs], Float[Tensor, "N T"]]
) -> Float[Tensor, "B T"]:
    """Shapes the rows of all processes together and returns those of this one. Every process has as many rows and comes
    here; they may be padded to different lengths.
    """
    if accelerator.num_processes == 1:
        return shape(x)

    def whole(values: Tensor) -> Tensor:
        return accelerator.gather(values if values.ndim == 1 else accelerator.pad_across_processes(values, dim=1))

    advantage, mask, group, ids, correct = map(whole, (x.advantage, x.mask, x.group, x.ids, x.correct))
    signals = TokenSignals({name: whole(values) for name, values in x.signals.values.items()})
    found = shape(ShaperInputs(advantage, signals, mask, group, ids, x.progress, correct))
    first = accelerator.process_index * len(x.mask)
    return found[first : first + len(x.mask), : x.mask.shape[1]]


def advantages(
    accelerator: Accelerator,
    estimator: Estimator,
    reward: Float[Tensor, " B"],
    group: Int64[Tensor, " B"],
    length: Float[Tensor, " B"],
    there: Bool[Tensor, " B"],
) -> Float[Tensor, " B"]:
    """The advantages of this process's responses, 0 for rows that are not `there`. A group lies on one process; an
    estimator of scope "batch" is shown the responses of all of them.
    """
    first, own = 0, len(reward)
    if ESTIMATORS.of(estimator).facts.scope == "batch" and accelerator.num_processes > 1:
        reward, group, length, there = (accelerator.gather(values) for values in (reward, group, length, there))
        first = accelerator.process_index * own
    found = torch.zeros(len(reward), device=reward.device)
    found[there] = estimator(reward[there], group[there], length[there])
    return found[first : first + own]
