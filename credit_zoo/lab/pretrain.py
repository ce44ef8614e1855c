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

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from credit_zoo.errors import UsageError
from credit_zoo.evaluation import EvalConfig, measure
from credit_zoo.lab.taught_solutions import Pretrain, Solutions, load_twin, vocabulary
from credit_zoo.policy import (
    BatchLayout,
    ModelConfig,
    Policy,
    Size,
    build_encoder,
    build_model,
    export_policy,
    weights_digest,
)
from credit_zoo.questions import Benchmark, DataConfig, PromptConfig, open_questions
from credit_zoo.registry import BENCHMARKS
from credit_zoo.results import machine
from credit_zoo.rollout import RolloutWorker
from credit_zoo.types import Prompts


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
