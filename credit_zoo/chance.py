"""What a benchmark gives to those who do not look: one answer for every question, or a guess among the choices."""

from collections import Counter
from collections.abc import Sequence

from credit_zoo.bench import Benchmark, Question

FREQUENT_BOXES = 20
CENTRE_SIDES = (0.25, 0.5, 0.75, 1.0)  # of the picture's side


def respond(answer: str) -> str:
    """A response of the right form that gives this answer."""
    return f"<think>-</think><answer>{answer}</answer>"


def share_right(bench: Benchmark, questions: Sequence[Question], answer: str) -> float:
    """The mean score of one answer to every question, in [0, 1]."""
    return sum(bench.score(question, respond(answer)).correct for question in questions) / len(questions)


def constant_answer(bench: Benchmark, training: Sequence[Question]) -> str:
    """The answer that is right most often in training: the most frequent one, of boxes the best candidate's."""
    counts = Counter(question.answer for question in training)
    if training[0].kind != "box":
        return counts.most_common(1)[0][0]
    return max(box_candidates(counts), key=lambda box: share_right(bench, training, box))


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
    guesses = [
        sum(bench.score(question, respond(choice)).correct for choice in question.choices) / len(question.choices)
        for question in questions
        if question.choices
    ]
    return sum(guesses) / len(guesses) if guesses else None
