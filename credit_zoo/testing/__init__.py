"""What every shaper is held to, for anyone to run: `check_shaper("pepo")`, `check_shaper(Mine(strength=0.3))`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
