"""Interchangeable token-level credit assignment for reinforcement learning of vision-language models.

The library's face; `credit_zoo.api` says what each name does. Nothing heavy is imported before it is used.
"""

import lazy_loader

__version__ = "0.2.0"

# Raised when `ShaperInputs`, a signal or the frame's checks change what a shaper is handed. Every record carries it.
CONTRACT_VERSION = 1

# Raised when the same words and seed sample other tokens or move the weights otherwise than before: runs on either side
# of such a change do not compare. `tests/test_identity.py` pins tiny runs and says when. Every record carries it.
LOOP_VERSION = 1

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
