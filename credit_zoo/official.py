"""The published scoring rules by benchmark, reported beside ours and never mixed."""

from collections.abc import Callable, Mapping

from credit_zoo.bench import Question

RULES: Mapping[str, Callable[[Question, str], float]] = {}
