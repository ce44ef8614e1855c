"""Makes the small model: builds it, warm-starts it on worked solutions of the twins, measures it, writes it.

    python -m credit_zoo.pretrain out=credit_zoo/policy/small

A Qwen2.5-VL of about one million parameters learns from worked solutions of the twins' easy range; in the last
`error_steps` the solutions hold errors of two known kinds (a number misread from the image, a wrong result), so that
reinforcement learning has something to do. With `mistakes=habits` the mistakes are systematic instead: the most
probable answer is wrong wherever a habit applies, and tokens that decide nothing are free
(`credit_zoo.twins.habit_writer`).

    python -m credit_zoo.pretrain start=small mistakes=habits steps=240 error_steps=240 response_length=80 out=FOLDER

tunes a checkpoint, whose vocabulary stays, instead of starting from nothing. A run that is started again goes on from
its last checkpoint.
"""

import importlib
import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from credit_zoo.errors import UsageError, check_range
from credit_zoo.evaluation import EvalConfig, measure
from credit_zoo.policy import (
    BatchLayout,
    Encoder,
    ModelConfig,
    Policy,
    Size,
    build_encoder,
    build_model,
    export_policy,
    weights_digest,
    words_of,
)
from credit_zoo.questions import Benchmark, DataConfig, PromptConfig, open_questions, short_text
from credit_zoo.registry import BENCHMARKS
from credit_zoo.results import machine
from credit_zoo.rollout import RolloutWorker
from credit_zoo.twins import Difficulty, ErrorWriter, Freedom, HabitWriter, SolutionWriter, Span, Twin
from credit_zoo.types import Prompts

# The settings that lie in [0, 1].
SHARES = (
    *("perception_errors", "reasoning_errors", "perception_habits", "reasoning_habits"),
    *("free_order", "free_names", "length"),
)


@dataclass(frozen=True)
class Pretrain:
    """Settings of the warm start. `mixture` weighs the twins; lengths are padded tokens."""

    out: str = "credit_zoo/policy/small"  # folder of the checkpoint
    work: str = "runs/pretrain"  # folder to go on from
    mixture: str = "refcoco:5,geometry3k:4,puzzles:4,mathvista:2,lisa_grounding:1"  # twins with their weights
    vocabulary: str = "geometry3k,mathvista,puzzles,refcoco,lisa_grounding"  # twins whose words the tokenizer knows
    steps: int = 2400  # in all
    error_steps: int = 200  # the last ones, on solutions with errors
    perception_errors: float = 0.35  # chance of a misread value in a solution, [0, 1]
    reasoning_errors: float = 0.35  # chance of a wrong result in a solution, [0, 1]
    mistakes: Literal["errors", "habits"] = "errors"  # what the last steps hold: noise, or systematic mistakes
    perception_habits: float = 0.75  # share of solutions that follow the habits of reading, [0, 1]
    reasoning_habits: float = 0.75  # share of solutions that follow the habit of reasoning, [0, 1]
    free_order: float = 0.5  # chance under habits that readings side by side are shuffled, [0, 1]
    free_names: float = 0.5  # chance under habits that a result has any name, [0, 1]
    remarks: int = 2  # remarks in a solution under habits, of which nothing depends
    start: str = "nothing"  # a checkpoint to tune: small, or a folder; nothing: random weights
    length: float = 0.0  # the twins' dial of long solutions, [0, 1]
    batch: int = 64  # solutions a step
    lr: float = 2e-3  # learning rate at its highest
    error_lr: float = 5e-4  # learning rate where the errors begin
    weight_decay: float = 0.05  # per step and unit of the rate
    seed: int = 0  # of weights and data
    save_every: int = 250  # steps between checkpoints
    workers: int = 1  # processes that draw solutions ahead of the training; 0: this one draws them itself
    response_length: int = 56  # tokens, padding included
    test_questions: int = 400  # asked of each twin at the end

    def __post_init__(self) -> None:
        for name in SHARES:
            check_range(f"pretrain.{name}", getattr(self, name), 0, 1)
        check_range("pretrain.remarks", self.remarks, 0)
        check_range("pretrain.workers", self.workers, 0)
        check_range("pretrain.error_steps", self.error_steps, 0, self.steps)
        if self.mistakes not in ("errors", "habits"):
            raise UsageError(f"pretrain.mistakes must be errors or habits, got {self.mistakes!r}")

    def writer(self, rng: np.random.Generator, step: int) -> SolutionWriter:
        """Who writes a solution of a step."""
        if step < self.steps - self.error_steps:
            return SolutionWriter()
        if self.mistakes == "errors":
            return ErrorWriter(rng, self.perception_errors, self.reasoning_errors)
        freedom = Freedom(self.free_order, self.free_names, self.remarks)
        return HabitWriter(rng, self.perception_habits, self.reasoning_habits, freedom)

    def shares(self) -> dict[str, float]:
        """The twins and their shares of a batch, which add up to 1."""
        pairs = [part.split(":") for part in self.mixture.split(",")]
        whole = sum(float(weight) for _, weight in pairs)
        return {name: float(weight) / whole for name, weight in pairs}

    def learning_rate(self, step: int) -> float:
        """Warm-up over 100 steps, cosine from `lr` to `error_lr`, then linear to a tenth of it."""
        clean = self.steps - self.error_steps
        if step < clean:
            cosine = 0.5 * (1 + math.cos(math.pi * step / clean))
            return min(1.0, (step + 1) / 100) * (self.error_lr + (self.lr - self.error_lr) * cosine)
        return self.error_lr * (1 - 0.9 * (step - clean) / self.error_steps)


class Solutions(Dataset[dict[str, Any]]):
    """Encoded batches of worked solutions, the same for the same settings and step."""

    def __init__(self, settings: Pretrain, encoder: Encoder, first_step: int) -> None:
        self.settings, self.encoder, self.first_step = settings, encoder, first_step
        self.twins = [load_twin(name) for name in settings.shares()]

    def __len__(self) -> int:
        return self.settings.steps - self.first_step

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.batch(self.first_step + index)

    def batch(self, step: int) -> dict[str, Any]:
        """The tensors of one step."""
        s = self.settings
        rng = np.random.default_rng([s.seed, step])
        prompts, solutions = [], []
        for k, choice in enumerate(rng.choice(len(self.twins), size=s.batch, p=list(s.shares().values()))):
            twin = self.twins[choice]
            example = twin.example("train", step * s.batch + k, Difficulty(length=s.length), s.seed)
            prompts.append((example.question.image, short_text(example.question)))
            solutions.append(self._fitting(twin.solution(example, s.writer(rng, step)), example.solution))
        encoded = self.encoder.prompts(prompts)
        ids, mask = self.encoder.responses(solutions, s.response_length)
        return {"ids": encoded.ids, "mask": encoded.mask, "vision": encoded.vision, "response": ids, "sampled": mask}

    def _fitting(self, spans: Sequence[Span], clean: Sequence[Span]) -> str:
        """A solution as text; one that its errors made too long gives way to the clean one."""
        texts = ["".join(span.text for span in version) for version in (spans, clean)]
        return next(t for t in texts if self.encoder.responses([t])[1].sum() <= self.settings.response_length)


def load_twin(name: str) -> Twin:
    """The twin of `credit_zoo/twins/<name>.py`."""
    twin: Twin = importlib.import_module(f"credit_zoo.twins.{name}").TWIN
    return twin


def vocabulary(names: Iterable[str], examples: int = 400) -> list[str]:
    """The words that the twins use, over both ends of both dials."""
    texts: list[str] = []
    for name in names:
        twin = load_twin(name)
        for index in range(examples):
            example = twin.example("train", index, Difficulty(index % 2, index // 2 % 2), seed=1)
            texts.append(short_text(example.question) + " ")
            texts.append("".join(span.text for span in example.solution))
    return words_of(texts)


def loss_of(policy: Policy, batch: dict[str, Any]) -> Tensor:
    """Mean negative log-probability of the solutions' tokens [nats]."""
    prompts = Prompts(batch["ids"], batch["mask"], tuple(batch["vision"]))
    rows = BatchLayout(prompts, torch.arange(len(prompts)), batch["response"], batch["sampled"])
    logp = policy(rows, temperature=1.0).logp
    return -logp[rows.mask].mean()


def optimizers_of(policy: Policy, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, norms and biases; one learning rate serves both.

    Source: Jordan et al., "Muon", 2024; the rate is scaled to AdamW's update size (Liu et al., arXiv:2502.16982).
    """
    named = list(policy.named_parameters())
    inner = [p for name, p in named if p.ndim == 2 and "embed" not in name and "lm_head" not in name]
    matrices = {id(p) for p in inner}
    others = [p for _, p in named if id(p) not in matrices]
    return [
        torch.optim.Muon(inner, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, weight_decay=weight_decay, betas=(0.9, 0.98)),
    ]


def _deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that change a number."""
    return {name: value for name, value in settings.items() if name != "workers"}


def _resume(settings: Pretrain, policy: Policy, optimizers: Sequence[torch.optim.Optimizer]) -> int:
    """Loads the last checkpoint of the same settings, if there is one, and returns its step."""
    path = Path(settings.work) / "checkpoint.pt"
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if _deciding(state["settings"]) != _deciding(asdict(settings)):
        raise UsageError(f"{path} was made with other settings; give another work=FOLDER or delete it")
    policy.load_state_dict(state["policy"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    step = int(state["step"])
    curve = path.with_name("curve.jsonl")
    kept = [line for line in curve.read_text().splitlines(keepends=True) if json.loads(line)["step"] < step]
    curve.write_text("".join(kept))
    return step


def _save(settings: Pretrain, policy: Policy, optimizers: Sequence[torch.optim.Optimizer], step: int) -> None:
    path = Path(settings.work) / "checkpoint.pt"
    states = [optimizer.state_dict() for optimizer in optimizers]
    state = {"settings": asdict(settings), "policy": policy.state_dict(), "optimizers": states, "step": step}
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def _begin(settings: Pretrain) -> Policy:
    """The policy before the first step: random weights, or those of a checkpoint with its vocabulary."""
    if settings.start != "nothing":
        return Policy.load(ModelConfig(path=settings.start, freeze_vision=False))
    encoder = build_encoder(vocabulary(settings.vocabulary.split(",")), Size())
    return Policy(build_model(encoder, Size(), settings.seed), encoder, ModelConfig(freeze_vision=False))


def _loader(settings: Pretrain, solutions: "Solutions") -> "DataLoader[dict[str, Any]]":
    """Steps in their order, drawn ahead. A new process is started afresh: a fork needs the memory of this one again."""
    if not settings.workers:
        return DataLoader(solutions, batch_size=None)
    return DataLoader(
        solutions, batch_size=None, num_workers=settings.workers, prefetch_factor=8, multiprocessing_context="spawn"
    )


def train(settings: Pretrain) -> Policy:
    """Runs the warm start, or what is left of it."""
    work = Path(settings.work)
    work.mkdir(parents=True, exist_ok=True)
    policy = _begin(settings)
    optimizers = optimizers_of(policy, settings.weight_decay)
    first = _resume(settings, policy, optimizers)
    loader = _loader(settings, Solutions(settings, policy.encoder, first))
    started = time.time()
    bar = tqdm(loader, "warm start", total=settings.steps, initial=first, mininterval=5)
    for step, batch in enumerate(bar, start=first):
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = settings.learning_rate(step)
        loss = loss_of(policy, batch)
        policy.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        bar.set_postfix(loss=f"{loss.item():.3f}")
        if step % 10 == 0:
            with (work / "curve.jsonl").open("a") as curve:
                line = {"step": step, "loss": round(loss.item(), 4), "seconds": round(time.time() - started, 1)}
                curve.write(json.dumps(line) + "\n")
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
            _save(settings, policy, optimizers, step + 1)
            export_policy(policy, work / "model")
    return policy


def _seconds(work: Path) -> float:
    """Seconds spent on the steps that count: the clock of the curve starts anew whenever the run goes on."""
    clock = [json.loads(line)["seconds"] for line in (work / "curve.jsonl").read_text().splitlines()]
    ends = [now for now, later in zip(clock, [*clock[1:], 0.0], strict=True) if later <= now]
    return float(sum(ends))


def warm_start_record(settings: Pretrain, policy: Policy) -> dict[str, Any]:
    """What the checkpoint was made of and what it can do before any reinforcement, per twin in percent."""
    accuracy = {}
    asked = EvalConfig(questions=settings.test_questions, max_tokens=settings.response_length)
    for name in settings.shares():
        bench: Benchmark = BENCHMARKS[name].factory()
        stream = open_questions(bench, "test", None, DataConfig(), asked.seed, shuffle=False)
        questions = [stream[index] for index in range(asked.questions)]
        found = measure(RolloutWorker(policy, bench, PromptConfig(style="short")), questions, asked, name)
        numbers = {"avg@8": found.accuracy, "greedy": found.greedy_accuracy or 0.0, "pass@8": found.pass_rate}
        accuracy[name] = {key: round(100 * value, 1) for key, value in numbers.items()}
    versions = {name: load_twin(name).version for name in settings.shares()}
    hours = round(_seconds(Path(settings.work)) / 3600, 2)
    return {
        "settings": {k: v for k, v in asdict(settings).items() if k not in ("out", "work", "test_questions")},
        "twin_versions": versions,
        "parameters": sum(p.numel() for p in policy.parameters()),
        "weights": weights_digest(policy),
        "machine": asdict(machine(torch.get_num_threads())),
        "hours": hours,
        "test_questions": asked.questions,
        "accuracy_percent": accuracy,
    }


def pretrain(settings: Pretrain) -> int:
    """Trains, measures and writes the checkpoint with its record and curve; returns the exit status."""
    policy = train(settings)
    record = warm_start_record(settings, policy)
    folder = export_policy(policy, Path(settings.out))
    (folder / "warm_start.json").write_text(json.dumps(record, indent=1) + "\n")
    (folder / "curve.jsonl").write_text((Path(settings.work) / "curve.jsonl").read_text())
    print(json.dumps(record["accuracy_percent"], indent=1))
    return 0
