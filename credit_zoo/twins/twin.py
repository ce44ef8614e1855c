"""Procedural twins of benchmarks: seeded, endless (image, question, worked solution) makers.

A twin holds problem families. A family samples a scene, draws it, asks about it, and solves it by one
straight procedure that serves teaching, making errors and checking alike (see `credit_zoo.twins.solutions`).
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from typing import Any, Protocol, runtime_checkable

import numpy as np

from credit_zoo.errors import UsageError
from credit_zoo.question import Kind, Question, Split
from credit_zoo.twins.canvas import Canvas
from credit_zoo.twins.checker import SolutionChecker
from credit_zoo.twins.contract import Difficulty, Span, Steps, Verdict
from credit_zoo.twins.solutions import SolutionWriter

Scene = Mapping[str, Any]
BUCKETS: Mapping[Split, range] = {"train": range(0, 7), "val": range(7, 8), "test": range(8, 10)}
EASY = Difficulty()
_TRIES = 2000


@dataclass(frozen=True)
class Ask:
    """A family's question, as the fields of `Question`; `category` None stands for the family's name.

    `unit` is what a box is measured in, kept in the question's `meta`.
    """

    text: str
    kind: Kind = "math"
    choices: tuple[str, ...] = ()
    precision: int | None = None
    category: str | None = None
    unit: str | None = None


@runtime_checkable
class Family(Protocol):
    """One kind of problem. A scene holds plain values that settle picture, question and solution."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        """A new scene; keys "mirror" and "flip" (bool) turn the canvas over."""
        ...

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        """Draw the scene, every value to be read among its labels."""
        ...

    def ask(self, scene: Scene) -> Ask:
        """The question about the scene."""
        ...

    def solve(self, scene: Scene, steps: Steps) -> None:
        """Write the solution: a straight program whose steps do not depend on the values."""
        ...


@dataclass(frozen=True)
class Example:
    """A question, its solution (joined, the full response text) and the scene behind both."""

    question: Question
    solution: tuple[Span, ...]
    scene: Mapping[str, object]


@dataclass(frozen=True)
class Twin:
    """A benchmark's procedural double; `version` rises when any example of it changes.

    `shaded` pictures have a ground from which a place can be told (see `Canvas`); `longer` are the families with long
    solutions, under their names, empty where the twin has none.
    """

    name: str
    version: int
    families: Mapping[str, Family]
    shaded: bool = False
    longer: Mapping[str, Family] = field(default_factory=dict)

    def example(self, split: Split, index: int, difficulty: Difficulty = EASY, seed: int = 0) -> Example:
        """The example at `index` (from 0), the same bytes at each call; splits share nothing."""
        example, canvas, rng = self._compose(split, index, difficulty, seed)
        image = canvas.finish(difficulty, rng)
        return replace(example, question=replace(example.question, image=image))

    def canvas(self, split: Split, index: int, difficulty: Difficulty = EASY, seed: int = 0) -> Canvas:
        """The unfinished canvas of the same example, whose `drawn` tells the labels in the picture."""
        return self._compose(split, index, difficulty, seed)[1]

    def solution(self, example: Example, steps: SolutionWriter) -> tuple[Span, ...]:
        """The example's solution written with a fresh solution or error writer."""
        return steps.write(partial(self._family(example).solve, example.scene))

    def check(self, example: Example, response: str) -> Verdict:
        """Where the response reads or reasons wrongly; never raises on any text."""
        return SolutionChecker(response).follow(partial(self._family(example).solve, example.scene))

    def _family(self, example: Example) -> Family:
        return self._named(example.scene)

    def _named(self, scene: Scene) -> Family:
        return (self.longer if "more" in scene else self.families)[str(scene["family"])]

    def _compose(
        self, split: Split, index: int, difficulty: Difficulty, seed: int
    ) -> tuple[Example, Canvas, np.random.Generator]:
        if split not in BUCKETS:
            raise ValueError(f"split must be one of {', '.join(BUCKETS)}, got {split!r}")
        dials: tuple[float, ...] = (float(difficulty.perception), float(difficulty.reasoning))
        # Examples without the younger dial are what they were before there was one.
        dials += (float(difficulty.length),) if difficulty.length else ()
        key = repr((self.name, self.version, split, int(index), dials, int(seed)))
        rng = np.random.default_rng(int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big"))
        scene, ask, canvas = self._scene(rng, split, difficulty)
        steps = SolutionWriter()
        spans = steps.write(partial(self._named(scene).solve, scene))
        question = Question(
            id=f"{self.name}-{split}-{seed}-{index}",
            image=None,
            text=ask.text,
            answer=steps.stated,
            kind=ask.kind,
            choices=ask.choices,
            precision=ask.precision,
            category=ask.category or scene["family"],
            meta={"family": scene["family"], **({"unit": ask.unit} if ask.unit else {})},
        )
        return Example(question, spans, scene), canvas, rng

    def _scene(
        self, rng: np.random.Generator, split: Split, difficulty: Difficulty
    ) -> tuple[dict[str, Any], Ask, Canvas]:
        families = self.longer if difficulty.length else self.families
        if not families:
            raise UsageError(f"the twin of {self.name} has no long solutions; set the dial of length to 0")
        name = list(families)[rng.integers(len(families))]
        family = families[name]
        for _ in range(_TRIES):
            scene = {"family": name, **family.sample(rng, difficulty)}
            canvas = Canvas(bool(scene.get("mirror")), bool(scene.get("flip")), self.shaded)
            family.draw(scene, canvas)
            ask = family.ask(scene)
            # Two scenes can look the same: splits go by what is seen, the clean picture and the question.
            if zlib.crc32(canvas.plain().tobytes() + ask.text.encode()) % 10 in BUCKETS[split]:
                return scene, ask, canvas
        raise RuntimeError(f"{self.name}: family {name} shows too little for split {split}; widen its sample")
