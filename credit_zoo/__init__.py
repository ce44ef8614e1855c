"""Interchangeable token-level credit assignment for reinforcement learning of vision-language models."""

__version__ = "0.1.0"

# Raised when `ShaperInputs`, a signal or the frame's checks change what a shaper is handed. Every record carries it.
CONTRACT_VERSION = 1
