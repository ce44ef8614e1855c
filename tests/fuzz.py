"""Random and adversarial strings put to the grader, in little memory: `python tests/fuzz.py COUNT`.

Every verdict is to be right or wrong, within 50 ms of processor time, and in 50 MB beyond what the process holds
when it starts to judge: the operating system refuses more, which ends the script with an error.
"""

import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from credit_zoo.answers.grader import score_response
from credit_zoo.question import Question

LIMIT_S = 0.05
LIMIT_BYTES = 50 * 2**20
HOSTILE = (
    "(", ")", "{", "}", "^", "**", "9", "9", "!", "√", "\\sqrt", "\\frac", "+", "-", "/", "*", "x", "π", ",", ":",
    "=", "<", "°", "cm", "\\boxed{", "[", "]", "1e9", "(a+b)^8", "(1+√2+√3)", "or", "½", "²", "$", "\\", "_", "'",
)  # fmt: skip
KINDS = {
    "integer": ("5", ()), "float": ("0.5", ()), "math": ("3 \\sqrt { 2 }", ()), "choice": ("six", ("five", "six", "7")),
    "list": ("[1, 2]", ()), "text": ("A380", ()), "box": ("1,1,6,8", ()),
}  # fmt: skip


def strings(count: int) -> Iterator[str]:
    """Pieces that parsers dislike, any characters, both; the same texts every time."""
    rng = random.Random(0)
    for _ in range(count):
        length = rng.choice((3, 10, 40, 150, 600))
        parts = [rng.choice(HOSTILE) if rng.random() < 0.7 else chr(rng.randrange(0xD800)) for _ in range(length)]
        text = "".join(parts) if rng.random() < 0.8 else rng.choice(parts) * (length * 10)
        yield text if rng.random() < 0.3 else f"<think>a</think><answer>{text}</answer>"


def seconds(question: Question, text: str) -> float:
    started = time.process_time()
    assert score_response(question, text).correct in (0, 1), text
    return time.process_time() - started


def cap_memory() -> None:
    held = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + LIMIT_BYTES, resource.RLIM_INFINITY))


def main(count: int) -> int:
    questions = [Question("q", None, "?", truth, kind, choices) for kind, (truth, choices) in KINDS.items()]
    for question in questions:
        seconds(question, question.answer)
    cap_memory()
    slow = []
    for number, text in enumerate(strings(count)):
        question = questions[number % len(questions)]
        # The quickest of three: what the grader takes, not what the machine is busy with.
        if seconds(question, text) >= LIMIT_S and min(seconds(question, text) for _ in range(2)) >= LIMIT_S:
            slow.append((question.kind, text[:200]))
    print(f"{count} judged, {len(slow)} too slow", *slow, sep="\n")
    return bool(slow)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
