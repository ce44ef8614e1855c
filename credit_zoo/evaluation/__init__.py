"""Measuring a policy on a benchmark: asking, grading, keeping the answers, baselines, grading kept answers anew."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
