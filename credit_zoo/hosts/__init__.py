"""The zoo inside other people's trainers: TRL, verl and ms-swift, one module each, and the laptop's model for them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
