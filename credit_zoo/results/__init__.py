"""What a run leaves: records, where they come from, their statistics, and the labels and tables they are shown by."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
