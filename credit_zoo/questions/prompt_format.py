"""What stands in the prompt beside the image: the benchmark's question and how the answer is to be given."""

from dataclasses import dataclass
from typing import Literal

from credit_zoo.errors import UsageError
from credit_zoo.question import Question
from credit_zoo.questions.benchmark import Benchmark

# PEPO's training and evaluation prompt (xzxxntxdy/PEPO@2b1e788).
THINK_ANSWER = (
    "\nFirst output the thinking process in <think> </think> tags and then output the final answer "
    "in <answer> </answer> tags."
)


def short_text(question: Question) -> str:
    """The bare question and its choices, as the small model was taught to read them."""
    return question.text + (f" choices:{','.join(question.choices)}" if question.choices else "")


@dataclass(frozen=True)
class PromptConfig:
    """`style="paper"`: the benchmark's own wording, then `suffix`. `style="short"`: the bare question and its
    choices, for a model that was taught the answer's format.
    """

    style: Literal["paper", "short"] = "paper"  # how the form of the answer is asked for
    suffix: str = THINK_ANSWER  # what paper puts behind the question

    def __post_init__(self) -> None:
        if self.style not in ("paper", "short"):
            raise UsageError(f"prompt.style must be 'paper' or 'short', got {self.style!r}")

    def text(self, bench: Benchmark, question: Question) -> str:
        """The text part of the prompt."""
        if self.style == "paper":
            return bench.prompt(question) + self.suffix
        return short_text(question)
