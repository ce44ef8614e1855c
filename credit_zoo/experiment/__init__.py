"""From words to settings to one run: resolving, planning, measuring, training, writing the record."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
