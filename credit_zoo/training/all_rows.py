"""The rows of all processes in one call, for a rule that looks at more than one response."""

from collections.abc import Callable

from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

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
