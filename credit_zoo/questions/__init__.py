"""What is asked: what a benchmark is, how its question is put, and where questions come from (twin, folder, hub)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
