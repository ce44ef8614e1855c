"""The zoo: one rule for spreading a response's advantage over its tokens per file, named as the file.

A shaper is a frozen dataclass of settings with `__call__(x: ShaperInputs) -> [B, T]`: no state, no division by a
masked count (`masked` does that), no scaling of rewards (the estimator does that), no average over tokens (the
loss does that). It returns token *advantages*, so additive rules and masks fit too; a multiplicative rule ends in
`return x.weighted(weights)`. Its module docstring gives a one-line summary, the equation, the paper, what it
reduces to and where it departs from the paper. The decorator carries facts and promises (`registry.ShaperFacts`),
and `credit_zoo.testing` checks every one of them, together with padding and permutation invariance, independence
of micro-batching, finiteness on hard inputs and the absence of gradients. Shapers never import each other.
"""

import sys

from credit_zoo.shapers._table import Zoo

sys.modules[__name__].__class__ = Zoo  # `credit_zoo.shapers()` is a function of the library as well
