"""The loss: rewards, advantages, the frame around a shaper, ratio, policy loss, aggregation; a base chooses them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
