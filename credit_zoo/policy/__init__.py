"""The model: encoding questions, one pass that scores responses, signals, adapters, export, and the small model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
