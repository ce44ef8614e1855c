"""Whether credit finds what matters: probes of a policy, roles of tokens, pictures of weights, the warm start."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
