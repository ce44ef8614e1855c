"""Procedural twins of benchmarks: seeded, endless makers of pictures, questions and worked solutions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
