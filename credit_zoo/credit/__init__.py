"""An instrument that sees credit: the signal and the noise that a rule puts into the gradient, beside the truth."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
