"""What works on this machine's accelerator and what it costs: one command, in parts that fail alone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
