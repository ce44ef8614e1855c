"""The small vision-language model and questions of a twin, in the form in which TRL's trainers take them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from credit_zoo.errors import UsageError
from credit_zoo.policy import SMALL_MODEL, ModelConfig, Policy, joint_processor
from credit_zoo.question import Split
from credit_zoo.questions import DataConfig, TwinQuestions, short_text
from credit_zoo.registry import BENCHMARKS


class Laptop(NamedTuple):
    """A `Qwen2_5_VLForConditionalGeneration` of 1.5 million parameters with its processor, a data set of conversational
    prompts with a picture each, and the reward: 1 for a right answer, 0 for another.
    """

    model: Any
    processor: Any
    questions: Any
    reward: Callable[..., list[float]]


def laptop(bench: str = "geometry3k", count: int = 256, split: Split = "train", seed: int = 0) -> Laptop:
    """The shipped model and the first `count` questions of a twin; `seed` picks one of many streams. The vision tower
    is frozen. Raises `UsageError` for a benchmark that has no twin.
    """
    from datasets import Dataset

    measured = BENCHMARKS[bench].factory()
    if not measured.twin:
        raise UsageError(f"{bench} has no twin to draw questions from; geometry3k has one")
    stream = TwinQuestions(measured.twin, split, DataConfig().difficulty, seed)
    questions = [stream[number] for number in range(count)]

    def accuracy(completions: Sequence[Any], number: Sequence[int], **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        return [float(measured.score(questions[k], text).correct) for k, text in zip(number, texts, strict=True)]

    rows = [
        {"prompt": [{"role": "user", "content": short_text(one)}], "image": one.image, "number": k}
        for k, one in enumerate(questions)
    ]
    policy = Policy.load(ModelConfig())
    policy.encoder.tokenizer.padding_side = "left"
    kind = PROCESSOR_MAPPING[type(policy.model.config)]
    processor = joint_processor(kind, str(SMALL_MODEL), policy.encoder.tokenizer)
    return Laptop(policy.model, processor, Dataset.from_list(rows), accuracy)
