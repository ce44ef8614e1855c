"""Control: what each token changed in the chance of the right answer, exactly.

    A[b,t] = V(prefix, y_t) - V(prefix)             times T[b], so that a mean over tokens is their sum

Paper: none; the closed form of `credit_zoo.truth.exact_values`, which only a twin's worked solution gives. What no rule
without the truth can beat by more than chance: the ceiling of the instrument. The estimator's advantage is not read:
groups that are all right or all wrong teach as well. Response sums are R - V(question), the advantage over the best
baseline there is.
Departs from nothing published: an oracle, never ranked.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs


@SHAPERS.register("oracle_exact", paper="none", needs=("truth_advantage",), control=True)
@dataclass(frozen=True)
class OracleExact:
    """No settings."""

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        return masked.count(x.mask) * masked.fill(x.signals.truth_advantage, x.mask)
