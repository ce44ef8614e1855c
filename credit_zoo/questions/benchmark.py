"""What a benchmark is: questions, a prompt, a score and a twin.

A benchmark is one file of `benchmarks/`: a frozen dataclass with `load`, `prompt` and `score`, behind
`@BENCHMARKS.register(...)`. The reward in training and the score in evaluation are the same function.
Nothing here imports torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from credit_zoo.question import Question, Score, Source, Split

if TYPE_CHECKING:
    from credit_zoo.twins import Twin


@runtime_checkable
class Benchmark(Protocol):
    """What the loop and the harness need of a benchmark."""

    @property
    def twin(self) -> "Twin | None":
        """Its procedural stand-in; None for a set that has none and so needs `data=`."""
        ...

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """The real set, from a local folder or, without one, from the hub; `split="all"` is for measuring a model
        that has seen none of it.
        """
        ...

    def prompt(self, question: Question) -> str:
        """The text put to the model beside the image, without instructions on the answer's format."""
        ...

    def score(self, question: Question, response: str) -> Score: ...
