"""What training costs, measured on this machine: `python -m credit_zoo.profile`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
