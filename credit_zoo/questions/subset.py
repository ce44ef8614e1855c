"""Which questions of a set are asked: all of them, or a sample in which every category keeps its share."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import overload

from credit_zoo.question import Question
from credit_zoo.questions.question_streams import Questions, told

# What eval.questions=0, all of them, is for a twin, which has no end: as many as Geometry3K's test split holds.
ALL_OF_A_TWIN = 601


@dataclass(frozen=True)
class OpenedOnUse(Sequence[Question]):
    """Questions that are made when one is taken, so that their pictures need not fit in memory; `told` is the same
    questions without their pictures.
    """

    told: tuple[Question, ...]
    make: Callable[[int], Question]

    def __len__(self) -> int:
        return len(self.told)

    @overload
    def __getitem__(self, index: int) -> Question: ...
    @overload
    def __getitem__(self, index: slice) -> list[Question]: ...
    def __getitem__(self, index: int | slice) -> Question | list[Question]:
        places = range(len(self.told))[index]
        return self.make(places) if isinstance(places, int) else [self.make(place) for place in places]


def without_pictures(questions: Sequence[Question]) -> Sequence[Question]:
    """The questions as a grader needs them."""
    if isinstance(questions, OpenedOnUse):
        return questions.told
    return [replace(question, image=None) for question in questions]


def choose(stream: Questions, count: int, seed: int) -> OpenedOnUse:
    """The first `count` questions of a twin, or of a real set a sample by `seed`, all where `count` is 0 or more than
    there are.

    A twin's small pictures are held; a real set's are opened each time.
    """
    if stream.source.rows:
        every = [told(stream, place) for place in range(stream.source.rows)]
        places = stratified([(one.category, one.answer) for one in every], count or len(every), seed)
        return OpenedOnUse(tuple(every[place] for place in places), lambda index: stream[places[index]])
    held = [stream[place] for place in range(count or ALL_OF_A_TWIN)]
    return OpenedOnUse(tuple(replace(one, image=None) for one in held), held.__getitem__)


def stratified(labels: Sequence[tuple[str, str]], count: int, seed: int) -> list[int]:
    """The places of a sample, ascending: all where `count` is not below `len(labels)`.

    Places are put in order of their labels, category before answer, at random where both are the same, and every
    `len(labels) / count`-th is taken from a random start. Each place is as likely as any other, and of every category,
    and of every answer in it, the sample holds its share, rounded up or down.
    """
    if count >= len(labels):
        return list(range(len(labels)))
    drawn, order = random.Random(seed), list(range(len(labels)))
    drawn.shuffle(order)
    order.sort(key=lambda place: labels[place])
    start = drawn.randrange(len(labels))
    return sorted(order[(start + number * len(labels)) // count] for number in range(count))
