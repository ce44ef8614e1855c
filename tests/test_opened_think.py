"""A chat template that opens `<think>` itself: what the prompt has said belongs to what is judged."""

import pytest
import torch

from credit_zoo.evaluation.generations import GenerationLog, read_generations
from credit_zoo.evaluation.grading import grade
from credit_zoo.evaluation.harness import EvalConfig, measure
from credit_zoo.objective.rewards import Reward
from credit_zoo.question import Question
from credit_zoo.questions.prompt_format import PromptConfig
from credit_zoo.registry import BENCHMARKS
from credit_zoo.rollout.sampling import SamplingParams
from credit_zoo.rollout.worker import RolloutWorker
from credit_zoo.types import Responses

GEOMETRY = BENCHMARKS["geometry3k"].factory()
FIVE = Question("q", None, "find <think> side", "5", "math")
SAID = "the side is 5</think><answer>5</answer>"
OPENS = "{{ '<think>\n' if add_generation_prompt }}"


class Says:
    """An engine that says the same to every question."""

    def __init__(self, text):
        self.text = text

    def __call__(self, policy, images, prompts, sampling, draws):
        count = len(prompts) * sampling.group
        ids, mask = policy.encoder.responses([self.text] * count)
        cut = torch.zeros(count, dtype=torch.bool)
        of = torch.arange(len(prompts)).repeat_interleave(sampling.group)
        return Responses(ids, mask, torch.zeros(mask.shape), cut, of)

    shared = True

    def sync(self, policy):
        pass


def worker_of(tiny, ending, said=SAID):
    tiny.encoder.tokenizer.chat_template += ending
    return RolloutWorker(tiny, GEOMETRY, PromptConfig(), Says(said))


@pytest.mark.parametrize(
    ("ending", "opened"),
    [
        ("", ""), (OPENS, "<think>\n"), ("{{ '<think>Let me see.' if add_generation_prompt }}", "<think>Let me see."),
        ("{{ '<think>\n\n</think>\n\n' if add_generation_prompt }}", ""),
        ("{{ '<think></think>\n<think>' if add_generation_prompt }}", "<think>"),
    ],
)  # fmt: skip
def test_what_a_template_has_opened(tiny, ending, opened):
    tiny.encoder.tokenizer.chat_template += ending
    assert tiny.encoder.opened == opened


def test_a_template_that_speaks_of_the_tags_has_opened_none(tiny):
    tiny.encoder.tokenizer.chat_template = "{{ 'Begin with <think> please.' }}" + tiny.encoder.tokenizer.chat_template
    assert tiny.encoder.opened == ""


@pytest.mark.parametrize(
    ("ending", "said", "reward"),
    [
        (OPENS, SAID, 2.0), ("", SAID, 1.0), ("", f"<think>{SAID}", 2.0),
        (OPENS, f"<think>{SAID}", 1.0), (OPENS, "</think><answer>5</answer>", 1.0), (OPENS, "so 5", 0.0),
    ],
)  # fmt: skip
def test_the_training_reward_sees_it(tiny, ending, said, reward):
    worker = worker_of(tiny, ending, said)
    scores, _ = worker.generate_and_score([FIVE], worker.encode([FIVE]), SamplingParams(2), torch.Generator())
    assert [Reward().total(score) for group in scores for score in group] == [reward, reward]


def test_evaluation_and_kept_answers_graded_again_see_it(tiny, tmp_path):
    worker = worker_of(tiny, OPENS)
    log = GenerationLog(tmp_path, {"bench": "geometry3k"}, [FIVE])
    found = measure(worker, [FIVE], EvalConfig(questions=1, samples=2, max_tokens=16), "t", log)
    assert (found.accuracy, found.unformatted) == (1.0, 0.0)
    log.keep(tmp_path / "kept.jsonl.gz")
    _, questions, sampled, greedy = read_generations(tmp_path / "kept.jsonl.gz")
    assert grade(GEOMETRY, questions, sampled, greedy).unformatted == 0.0


def test_tags_that_a_checkpoint_counts_as_special_are_not_lost(tiny):
    tiny.encoder.tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    ids, mask = tiny.encoder.responses([f"<think>{SAID}"])
    assert tiny.encoder.decode(ids, mask) == [f"<think>{SAID}"]
