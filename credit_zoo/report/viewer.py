"""What the credit viewer of a page needs of kept answers, as data for its script."""

from collections.abc import Mapping, Sequence
from typing import Any

from credit_zoo.report.examples import Answer, Examples

TRUTH = "A* (the truth)"  # stands among the rules: what each token changed in the chance of the right answer


def viewer_data(examples: Sequence[Examples], names: Sequence[str]) -> dict[str, Any]:
    """Credit, roles and values of all answers, by the key that their place on the page carries; of these rules."""
    return {
        "truth": TRUTH,
        "answers": {
            key_of(one, question, answer): _answer(found, names)
            for one, kept in enumerate(examples)
            for question, asked in enumerate(kept.questions)
            for answer, found in enumerate(asked.answers)
        },
    }


def key_of(one: int, question: int, answer: int) -> str:
    """The key of an answer."""
    return f"{one}-{question}-{answer}"


def rules_of(examples: Sequence[Examples]) -> list[str]:
    """The rules that all of them have, as the first one orders them."""
    return [name for name in examples[0].rules if all(name in other.rules for other in examples)] if examples else []


def _answer(found: Answer, names: Sequence[str]) -> Mapping[str, Any]:
    return {
        "advantage": found.advantage,
        "value": found.value,
        "truth": found.truth,
        "role": found.role,
        "error": found.error,
        "credit": {name: found.credit[name] for name in names if name in found.credit},
    }
