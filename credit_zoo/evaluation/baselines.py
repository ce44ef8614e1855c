"""What a benchmark gives to those who do not look: one answer for every question, or a guess among the choices."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from credit_zoo.errors import UsageError
from credit_zoo.evaluation.grading import Completions
from credit_zoo.question import Question, StoredPicture
from credit_zoo.questions import Benchmark

if TYPE_CHECKING:
    from PIL.Image import Image

BASELINES = {
    "blank_image": "the model is shown white pictures",
    "majority": "the one answer that is right most often among the questions asked, an upper bound for constants",
    "random": "a choice drawn uniformly, or the truth of another question where there is no choice",
}
WHITE = (255, 255, 255)
LETTERS = "ABCDEFGHI"
FREQUENT = 20
FREQUENT_BOXES = 20
CENTRE_SIDES = (0.25, 0.5, 0.75, 1.0)  # of the picture's side


def as_response(answer: str) -> str:
    """A response of the right form that gives this answer."""
    return f"<think>-</think><answer>{answer}</answer>"


def constant_accuracy(bench: Benchmark, questions: Sequence[Question], answer: str) -> float:
    """The mean score of one answer to every question, in [0, 1]."""
    return sum(bench.score(question, as_response(answer)).correct for question in questions) / len(questions)


def constant_answer(bench: Benchmark, training: Sequence[Question]) -> str:
    """The answer that is right most often in training: the most frequent one, of boxes the best candidate's."""
    counts = Counter(question.answer for question in training)
    if training[0].kind != "box":
        return counts.most_common(1)[0][0]
    return max(box_candidates(counts), key=lambda box: constant_accuracy(bench, training, box))


def box_candidates(counts: Counter[str]) -> list[str]:
    """The most frequent boxes, and boxes around the centre of the area that all of them together span."""
    frequent = [f"[{answer}]" for answer, _ in counts.most_common(FREQUENT_BOXES)]
    corners = list(zip(*(map(float, answer.split(",")) for answer in counts), strict=True))
    left, top, right, bottom = min(corners[0]), min(corners[1]), max(corners[2]), max(corners[3])
    for side in CENTRE_SIDES:
        x, y = (1 - side) * (right - left) / 2, (1 - side) * (bottom - top) / 2
        frequent.append(f"[{left + x:g},{top + y:g},{right - x:g},{bottom - y:g}]")
    return frequent


def uniform_choice(bench: Benchmark, questions: Sequence[Question]) -> float | None:
    """The expected score of a uniform guess among the choices, over the questions that have some; None without."""
    random_answers = [
        sum(bench.score(question, as_response(choice)).correct for choice in question.choices) / len(question.choices)
        for question in questions
        if question.choices
    ]
    return sum(random_answers) / len(random_answers) if random_answers else None


def blank_image(question: Question) -> Question:
    """The question with a white picture of the same size."""
    if question.held is None:
        raise UsageError(f"{question.id} has no picture to blank")
    return replace(question, image=StoredPicture(question, _white))


def _white(question: Question) -> "Image":
    from PIL import Image

    from credit_zoo.questions import shown_size

    return Image.new("RGB", shown_size(question) or (0, 0), WHITE)


def best_constant_answer(bench: Benchmark, questions: Sequence[Question]) -> Completions:
    """The one response that is right most often, among letters, frequent truths and boxes."""
    counts = Counter(question.answer for question in questions)
    boxes = Counter(question.answer for question in questions if question.kind == "box")
    frequent = [answer for answer, _ in counts.most_common(FREQUENT)]
    answers = [*LETTERS, *frequent, *(box_candidates(boxes) if boxes else ())]
    best = max(answers, key=lambda answer: constant_accuracy(bench, questions, answer))
    return Completions((as_response(best),), (False,))


def random_answers(questions: Sequence[Question], samples: int, seed: int) -> list[Completions]:
    """Random responses: a choice of the question's own, or the truth of a question of the same kind. More samples come
    after the same first ones.
    """
    truths: dict[str, list[str]] = {}
    for question in questions:
        answer = f"[{question.answer}]" if question.kind == "box" else question.answer
        truths.setdefault(question.kind, []).append(answer)
    found = []
    for question in questions:
        draw = random.Random(f"{seed} {question.id}")
        drawn = draw.choices(question.choices or truths[question.kind], k=samples)
        found.append(Completions(tuple(map(as_response, drawn)), (False,) * samples))
    return found
