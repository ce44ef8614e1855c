"""What a twin alone can tell of a response: the role of each token, the first error, the value of every prefix."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
