"""Sampling responses: here, or with vLLM in this process or behind a server; and what the two disagree on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
