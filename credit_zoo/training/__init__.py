"""One step and the loop of steps: collecting, updating, reporting, the engines, checkpoints, being told to stop."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
