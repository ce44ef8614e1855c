"""From records to pages: the leaderboard, the generated blocks of README.md and docs/, the learning curves."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
