"""What a policy can do before reinforcement, what goes wrong in it, and whether signals and rules see that.

    python -m credit_zoo.probe bench=geometry3k out=leaderboard/probes/geometry3k.json questions=200 samples=8

Held-out questions of a twin are answered `samples` times each. The twin's checker then says for every token what
it was there for (read from the picture, derived, filler) and which was the first wrong one, and an AUROC says how far
a signal, or the weight W that a shaper gives, tells these apart (`probes.TASKS`; 0.5 is nothing):

- signals: every sampled token with a role. `first_error`: read and derived tokens of the wrong responses whose first
  error is such a token (not a wrongly copied operand, and not one behind the place where the form was left).
- shapers: the same tokens in responses with an advantage that is not 0, for W means nothing in the others. Advantages
  are GRPO's, from the score alone; settings are the rule's defaults, progress 1; a rule of scope "batch" sees all
  responses at once. W multiplies advantages of both signs alike.

Accuracy at T = 1, 0.6, 0.3 and 0 says what a lower temperature alone would give, which no reward is needed for.
Chance is measured too: with blank pictures, by one answer for all questions, and by guessing among choices.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from tqdm import tqdm

from credit_zoo.cli import as_arguments
from credit_zoo.errors import UsageError, check_range
from credit_zoo.evaluation import (
    EvalConfig,
    blank_image,
    constant_accuracy,
    constant_answer,
    draws,
    measure,
    passes,
    uniform_choice,
)
from credit_zoo.lab.probe_figures import Values, mistakes, separations, spreads, tasks
from credit_zoo.lab.probe_record import (
    SCHEMA,
    Accuracy,
    AtTemperature,
    ProbeRecord,
    Separation,
    rounded,
    save,
)
from credit_zoo.lab.probe_tables import probe_text
from credit_zoo.objective import Grpo, shape, weights
from credit_zoo.policy import BatchLayout, ModelConfig, Patches, Policy, measure_tokens, weights_digest
from credit_zoo.question import Question, Split
from credit_zoo.questions import PromptConfig
from credit_zoo.registry import BENCHMARKS, SHAPERS
from credit_zoo.results import interval, machine, origin, repeatable, utc_now
from credit_zoo.rollout import RolloutWorker
from credit_zoo.truth import Labels, token_labels
from credit_zoo.twins import Difficulty, Example, Twin, Verdict
from credit_zoo.types import ShaperInputs, TokenSignals

SIGNALS = ("logp", "entropy", "visual_similarity")


@dataclass(frozen=True)
class Probe:
    """What to ask, and where to write it (`out=none`: print only). `training` questions are counted for the most
    frequent answer; `batch` questions are sampled together; `perception`, `reasoning` and `length` are the
    twin's dials; `note` says in the tables what the model is.
    """

    bench: str = "geometry3k"  # whose twin is asked
    model: str = "small"  # a folder, a hub id, or a shipped one: small, habits, habits_fluent
    out: str | None = None  # file of the record; none: print only
    note: str = ""  # says in tables what the model is
    questions: int = 200  # of the test split
    samples: int = 8  # answers to each
    max_tokens: int = 56  # response tokens
    temperature: float = 1.0  # of the softmax, (0, inf)
    perception: float = 0.0  # the twin's dial, [0, 1]
    reasoning: float = 0.0  # the twin's dial, [0, 1]
    length: float = 0.0  # the twin's dial, [0, 1]
    training: int = 2000  # questions counted for the most frequent answer
    batch: int = 16  # questions sampled together
    seed: int = 1234  # of questions and draws

    def __post_init__(self) -> None:
        for name in ("questions", "samples", "max_tokens", "training", "batch"):
            check_range(f"probe.{name}", getattr(self, name), 1)
        check_range("probe.temperature", self.temperature, 0, open_low=True)
        check_range("probe.seed", self.seed, 0)
        for name in ("perception", "reasoning", "length"):
            check_range(f"probe.{name}", getattr(self, name), 0, 1)

    @property
    def eval(self) -> EvalConfig:
        """The same draws as the harness makes."""
        return EvalConfig(
            self.questions, self.samples, self.temperature, max_tokens=self.max_tokens, greedy=False, batch=self.batch,
            seed=self.seed,
        )  # fmt: skip


@dataclass(frozen=True)
class SampledResponses:
    """B = questions x samples responses, a question's side by side; `group` is the question's number."""

    score: Float[Tensor, " B"]
    group: Int64[Tensor, " B"]
    ids: Int64[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    signals: TokenSignals

    @property
    def wrong(self) -> Bool[np.ndarray, " B"]:
        """The responses that are not fully right."""
        found: np.ndarray = (self.score < 1).numpy()
        return found


def twin_of(worker: RolloutWorker) -> Twin:
    """The twin that is probed: real sets do not say what role a token has."""
    twin = worker.bench.twin
    if twin is None:
        raise UsageError(
            f"{type(worker.bench).__name__} has no procedural twin, and only a twin knows the roles of tokens"
        )
    return twin


def examples(worker: RolloutWorker, probe: Probe, split: Split, count: int) -> list[Example]:
    """The first examples of the twin's split under the probe's dials and seed."""
    dials = Difficulty(probe.perception, probe.reasoning, probe.length)
    return [twin_of(worker).example(split, index, dials, probe.seed) for index in range(count)]


def needs() -> tuple[str, ...]:
    """The signals that the probe reports, and those that its rules need."""
    return tuple(sorted({*SIGNALS, *(need for name in rules() for need in SHAPERS[name].facts.needs)}))


def rules() -> tuple[str, ...]:
    """The rules whose weights tell something: no controls, and none that acts on the update alone."""
    entries = (SHAPERS[name] for name in SHAPERS if name != "uniform")
    return tuple(entry.name for entry in entries if not entry.facts.control and entry.facts.stage == "rollout")


def draw(worker: RolloutWorker, questions: Sequence[Question], probe: Probe) -> SampledResponses:
    """Samples, scores and measures, `probe.batch` questions at a time."""
    starts = range(0, len(questions), probe.batch)
    chunks = [questions[start : start + probe.batch] for start in starts]
    bar, wanted = tqdm(chunks, "samples", leave=False, disable=None), needs()
    parts = [_draw_some(worker, chunk, probe, wanted) for chunk in bar]
    return SampledResponses(
        torch.cat([part.score for part in parts]),
        torch.cat([part.group + start for part, start in zip(parts, starts, strict=True)]),
        torch.cat([part.ids for part in parts]),
        torch.cat([part.mask for part in parts]),
        TokenSignals({name: torch.cat([part.signals.values[name] for part in parts]) for name in wanted}),
    )


@torch.no_grad()
def _draw_some(
    worker: RolloutWorker,
    questions: Sequence[Question],
    probe: Probe,
    wanted: Sequence[str],
) -> SampledResponses:
    prompts, policy = worker.encode(questions), worker.policy
    drawn = draws(probe.seed, questions)
    scores, responses = worker.generate_and_score(questions, prompts, probe.eval.sampling(), drawn)
    rows = BatchLayout.of(prompts, responses)
    _, signals = measure_tokens(policy, policy, rows, wanted, probe.temperature, view=Patches())
    correct = torch.tensor([score.correct for group in scores for score in group], dtype=torch.float32)
    return SampledResponses(correct, responses.row_of, responses.ids, responses.mask, signals)


def check(worker: RolloutWorker, asked: Sequence[Example], drawn: SampledResponses) -> list[Verdict]:
    """The twin's verdict on every response."""
    texts = worker.policy.encoder.decode(drawn.ids, drawn.mask)
    places = drawn.group.tolist()
    return [twin_of(worker).check(asked[place], text) for place, text in zip(places, texts, strict=True)]


def temperature_row(
    worker: RolloutWorker, asked: Sequence[Example], drawn: SampledResponses, probe: Probe
) -> tuple[AtTemperature, ...]:
    """Accuracy at each temperature, of which `drawn` is one: what sharpening alone gives."""
    questions, found = [example.question for example in asked], []
    for temperature, settings in passes(probe.eval):
        if temperature == probe.temperature:
            scores = drawn.score.view(len(questions), -1).double().numpy().mean(1)
        else:
            scores = np.array(measure(worker, questions, settings, f"T={temperature:g}").mean)
        seen = interval(scores[None])
        found.append(AtTemperature(temperature, seen.value, seen.low, seen.high))
    return tuple(found)


def accuracy(
    worker: RolloutWorker, asked: Sequence[Example], drawn: SampledResponses, probe: Probe, greedy: float
) -> Accuracy:
    """What the policy gets right, and what comes right without the picture or without any policy."""
    questions = [example.question for example in asked]
    blind = measure(worker, [blank_image(question) for question in questions], probe.eval, "blank pictures")
    scores = drawn.score.view(len(questions), -1).double().numpy()
    seen, unseen = interval(scores.mean(1)[None]), interval(np.array([blind.mean]))
    passed, failed = (scores >= 1).any(1), (scores < 1).any(1)
    training = [example.question for example in examples(worker, probe, "train", probe.training)]
    return Accuracy(
        average=seen.value,
        average_low=seen.low,
        average_high=seen.high,
        greedy=greedy,
        passed=float(passed.mean()),
        mixed=float((passed & failed).mean()),
        blind=unseen.value,
        blind_low=unseen.low,
        blind_high=unseen.high,
        majority=constant_accuracy(worker.bench, questions, constant_answer(worker.bench, training)),
        uniform_choice=uniform_choice(worker.bench, questions),
        with_choices=sum(bool(question.choices) for question in questions) / len(questions),
    )


def shaper_inputs(drawn: SampledResponses) -> ShaperInputs:
    """The responses as a rule sees them, with the score as reward."""
    advantage = Grpo()(drawn.score, drawn.group)
    return ShaperInputs(advantage, drawn.signals, drawn.mask, drawn.group, drawn.ids, 1.0, drawn.score)


def shaper_weights(x: ShaperInputs) -> dict[str, Values]:
    """The weights of every rule of `rules`."""
    return {name: weights(shape(SHAPERS[name].factory(), x), x).numpy() for name in rules()}


def credit(drawn: SampledResponses, labels: Labels) -> tuple[Separation, ...]:
    """Whether signals, and then rules, tell tokens apart."""
    x, group = shaper_inputs(drawn), drawn.group.numpy()
    split = tasks(labels, drawn.wrong)
    counted = (x.advantage != 0).numpy()[:, None]
    weighed = {task: (positive & counted, negative & counted) for task, (positive, negative) in split.items()}
    return (
        *separations("signal", reported(drawn), split, group),
        *separations("shaper", shaper_weights(x), weighed, group),
    )


def reported(drawn: SampledResponses) -> dict[str, Values]:
    """The signals of the record."""
    return {name: drawn.signals.values[name].numpy() for name in SIGNALS}


def probe_policy(policy: Policy, probe: Probe, arguments: Sequence[str]) -> ProbeRecord:
    """Everything, measured on one policy; `arguments` are what was typed."""
    started, created = time.perf_counter(), utc_now()
    entry = BENCHMARKS[probe.bench]
    worker = RolloutWorker(policy, entry.factory(), PromptConfig(style="short"))
    asked = examples(worker, probe, "test", probe.questions)
    drawn = draw(worker, [example.question for example in asked], probe)
    verdicts = check(worker, asked, drawn)
    labels = token_labels(policy.encoder, drawn.ids, drawn.mask, verdicts)
    row = temperature_row(worker, asked, drawn, probe)
    return ProbeRecord(
        schema=SCHEMA,
        created=created,
        command=("credit_zoo.probe", *repeatable(arguments)),
        bench=probe.bench,
        bench_version=entry.facts.version,
        twin_version=twin_of(worker).version,
        model=Path(probe.model).name,
        weights=weights_digest(policy),
        settings={name: value for name, value in asdict(probe).items() if name not in ("bench", "model", "out")},
        accuracy=rounded(accuracy(worker, asked, drawn, probe, row[-1].value)),
        temperatures=rounded(row),
        mistakes=rounded(mistakes(drawn.wrong, verdicts)),
        spreads=rounded(tuple(spreads(reported(drawn), labels))),
        separations=rounded(credit(drawn, labels)),
        machine=machine(torch.get_num_threads()),
        origin=origin(),
        seconds=round(time.perf_counter() - started, 1),
    )


def run_probe(probe: Probe) -> int:
    """Probes, prints and writes; returns the exit status."""
    policy = Policy.load(ModelConfig(path=probe.model), frozen=True)
    record = probe_policy(policy, probe, as_arguments(probe))
    print(probe_text(record))
    if probe.out is not None:
        save(record, Path(probe.out))
        print(f"\nwrote {probe.out}")
    return 0
