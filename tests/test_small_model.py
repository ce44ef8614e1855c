"""The shipped checkpoint: what it is, and that reinforcement learning on two cores has something to do with it."""

import dataclasses
import json

import pytest
import torch
from accelerate import Accelerator

from credit_zoo.evaluation.harness import EvalConfig, measure
from credit_zoo.objective.base import Base
from credit_zoo.objective.rewards import Reward
from credit_zoo.policy.export import weights_digest
from credit_zoo.policy.policy import SHIPPED, SMALL_MODEL, ModelConfig, Policy
from credit_zoo.questions.prompt_format import PromptConfig, short_text
from credit_zoo.questions.question_streams import DataConfig, open_questions
from credit_zoo.registry import BENCHMARKS, SHAPERS
from credit_zoo.rollout.sampling import SamplingParams, generators
from credit_zoo.rollout.worker import RolloutWorker
from credit_zoo.training.engine import torch_engine
from credit_zoo.training.loop import train_policy
from credit_zoo.training.rollout_collection import Collector
from credit_zoo.training.train_config import TrainConfig
from credit_zoo.training.trainer import Trainer
from credit_zoo.twins.contract import Difficulty

SHORT = PromptConfig(style="short")


@pytest.fixture(scope="module")
def small():
    return Policy.load(ModelConfig())


def test_it_is_an_unmodified_qwen2_5_vl_in_safetensors_of_at_most_12_megabytes(small):
    assert type(small.model).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert type(small.model).__module__.startswith("transformers.")
    names = {path.name for path in SMALL_MODEL.iterdir()}
    assert "model.safetensors" in names and not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)
    assert sum(path.stat().st_size for path in SMALL_MODEL.iterdir()) < 12 * 2**20


@pytest.mark.parametrize("twin", [name for name in BENCHMARKS if BENCHMARKS[name].factory().twin])
def test_questions_and_solutions_survive_the_tokenizer_in_known_words(small, twin):
    twin, encoder = BENCHMARKS[twin].factory().twin, small.encoder
    letters = {encoder.tokenizer.convert_tokens_to_ids(letter) for letter in "abcdefghijklmnoqrstuvwyz"}
    for index in range(100):
        example = twin.example("test", index, Difficulty(index % 2, index % 2))
        texts = [short_text(example.question), "".join(span.text for span in example.solution)]
        ids, mask = encoder.responses(texts)
        assert encoder.decode(ids, mask) == texts
        assert not letters & set(ids[mask].tolist()), "a word fell apart into letters"


@pytest.fixture(scope="module", params=["habits", "habits_fluent"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def habits(name):
    return Policy.load(ModelConfig(path=name))


def test_a_policy_with_habits_is_the_small_model_with_other_weights(small, habits, name):
    assert sum(path.stat().st_size for path in SHIPPED[name].iterdir()) < 12 * 2**20
    assert habits.encoder.tokenizer.get_vocab() == small.encoder.tokenizer.get_vocab()
    theirs, ours = (dict(policy.named_parameters()) for policy in (small, habits))
    assert {name: one.shape for name, one in ours.items()} == {name: one.shape for name, one in theirs.items()}
    assert weights_digest(small) != weights_digest(habits)


def test_its_record_is_of_the_weights_that_ship(habits, name):
    record = json.loads((SHIPPED[name] / "warm_start.json").read_text())
    assert record["weights"] == weights_digest(habits) and record["settings"]["mistakes"] == "habits"


LABORATORIES = {"habits": ["geometry3k"], "habits_fluent": ["refcoco", "puzzles", "mathvista"]}


@pytest.mark.parametrize(
    ("model", "bench"), [(model, bench) for model, benches in LABORATORIES.items() for bench in benches]
)
def test_its_most_probable_answer_is_wrong_in_the_way_that_habits_are(model, bench):
    twin = BENCHMARKS[bench].factory().twin
    asked = [twin.example("test", index) for index in range(24)]
    worker = RolloutWorker(Policy.load(ModelConfig(path=model)), BENCHMARKS[bench].factory(), SHORT)
    questions = [example.question for example in asked]
    prompts = worker.encode(questions)
    drawn = worker.generate(questions, prompts, SamplingParams(1, 0.0, max_tokens=72), generators(0, range(24)))
    verdicts = [twin.check(example, text) for example, text in zip(asked, worker.texts(drawn), strict=True)]
    followed = sum(bool(verdict.habits) for verdict in verdicts)
    right = sum(verdict.followed and not verdict.errors for verdict in verdicts)
    assert followed >= 10 and right <= 12


def ask(policy, name, questions=24, **settings):
    bench = BENCHMARKS[name].factory()
    chosen = EvalConfig(questions=questions, samples=4, max_tokens=56, greedy=False, **settings)
    stream = open_questions(bench, "test", None, DataConfig(), chosen.seed, shuffle=False)
    asked = [stream[index] for index in range(questions)]
    return bench, chosen, asked, measure(RolloutWorker(policy, bench, SHORT), asked, chosen, name)


@pytest.mark.slow
@pytest.mark.parametrize("twin", ["geometry3k", "refcoco", "puzzles"])
def test_it_looks_at_the_picture(small, twin):
    bench, chosen, asked, seeing = ask(small, twin, questions=48)
    blank = [dataclasses.replace(q, image=q.image.point(lambda _: 255)) for q in asked]
    blind = measure(RolloutWorker(small, bench, SHORT), blank, chosen, "blind")
    assert seeing.accuracy > 0.15 and blind.accuracy < 0.1
    assert seeing.pass_rate > seeing.accuracy + 0.15


@pytest.mark.slow
@pytest.mark.parametrize("shaper", ["uniform", "pepo"])
def test_its_reward_rises_within_forty_steps(small, shaper):
    torch.manual_seed(0)
    policy = Policy.load(ModelConfig())
    bench, base = BENCHMARKS["geometry3k"].factory(), Base()
    train = TrainConfig(steps=40, prompts=16, lr=6e-5)
    collector = Collector(
        RolloutWorker(policy, bench, SHORT), base, SamplingParams(max_tokens=56), Reward(), prompts=16
    )
    made = SHAPERS[shaper].factory()
    accelerator = Accelerator(cpu=True)
    engine = torch_engine(accelerator, policy, train.lr, weight_decay=0.0)
    trainer = Trainer(policy, engine, accelerator, None, made, base, train, collector)
    rewards = []
    questions = open_questions(bench, "train", None, DataConfig(), 0, shuffle=True)
    train_policy(trainer, questions, seed=0, report=lambda step, following: rewards.append(step.accuracy))
    assert sum(rewards[-10:]) / 10 > sum(rewards[:10]) / 10 + 0.03
