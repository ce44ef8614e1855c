"""What a training step costs on this machine: `python -m credit_zoo.hardware MODEL [SETTING=VALUE ...]`.

A model of the named configuration (`configs/model/MODEL.json`, or small) with random weights is updated on random
pictures, prompts and responses, with `uniform` and with `shaper` in turn, after one unmeasured update of each: what a
rule costs is the ratio of neighbours in time. Sampling is not measured. The table is printed; with `out=FILE` the
numbers are kept.
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import AutoConfig, AutoModelForImageTextToText

from credit_zoo.base import Base
from credit_zoo.collect import Collector
from credit_zoo.command import CONFIGS
from credit_zoo.encoder import Encoder
from credit_zoo.engine import plain
from credit_zoo.harness import Asker
from credit_zoo.markdown import grid
from credit_zoo.plan import kept_config
from credit_zoo.policy import SMALL_MODEL, Model, Policy
from credit_zoo.prompting import Prompting
from credit_zoo.provenance import machine
from credit_zoo.registry import BENCHMARKS, SHAPERS, UsageError, check_range
from credit_zoo.results import atomic_write
from credit_zoo.rewards import Reward
from credit_zoo.rollout import Sampling
from credit_zoo.settings import from_words
from credit_zoo.step import Train, Trainer, prepare, score_old, update
from credit_zoo.types import Prompts, Responses, RolloutBatch


@dataclass(frozen=True)
class Hardware:
    """`repeats` times: `prompts` x `group` responses of `tokens` to pictures of `high` x `wide` image tokens."""

    shaper: str = "pepo"
    prompts: int = 8
    group: int = 8
    tokens: int = 512
    high: int = 15
    wide: int = 20
    micro_batch: int = 4
    repeats: int = 3
    dtype: str = "bfloat16"
    checkpointing: bool = True
    out: str = ""

    def __post_init__(self) -> None:
        for name in ("prompts", "group", "tokens", "high", "wide", "micro_batch", "repeats"):
            check_range(f"hardware.{name}", getattr(self, name), 1)
        if self.shaper not in SHAPERS:
            raise UsageError(f"hardware.shaper must be one of {', '.join(SHAPERS)}, got '{self.shaper}'")


def random_policy(name: str, work: Hardware, device: torch.device) -> Policy:
    """The architecture with random weights. Texts are never read, so that the small model's tokenizer stands in."""
    config = AutoConfig.from_pretrained(SMALL_MODEL) if name == "small" else kept_config(name)
    if config is None:
        known = ", ".join(["small", *(file.stem for file in sorted((CONFIGS / "model").glob("*.json")))])
        raise UsageError(f"no configuration named '{name}' is kept. There are: {known}")
    if config.model_type != "qwen2_5_vl":
        raise UsageError(f"pictures of random patches are made for Qwen2.5-VL only, and {name} is {config.model_type}")
    with device:
        model = AutoModelForImageTextToText.from_config(config, dtype=getattr(torch, work.dtype))
    small = Encoder.load(str(SMALL_MODEL), AutoConfig.from_pretrained(SMALL_MODEL))
    ids = (config.image_token_id, config.video_token_id, config.vision_start_token_id, config.vision_end_token_id)
    settings = Model(path=name, gradient_checkpointing=work.checkpointing, logits_at_once=2**26)
    return Policy(model, Encoder(small.tokenizer, None, None, ids[0], ids), settings)


def random_batch(policy: Policy, work: Hardware) -> RolloutBatch:
    """Pictures of noise, a few words, responses of full length, rewards by lot."""
    torch.manual_seed(0)
    config, image = policy.model.config, policy.encoder.image_token
    vision = config.vision_config
    merge, rows = vision.spatial_merge_size, work.prompts * work.group
    patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    high, wide = work.high * merge, work.wide * merge
    pictures = tuple(
        {"pixel_values": torch.randn(high * wide, patch), "image_grid_thw": torch.tensor([[1, high, wide]])}
        for _ in range(work.prompts)
    )
    words = torch.randint(10, 300, (work.prompts, 32))
    ids = torch.cat([words, torch.full((work.prompts, work.high * work.wide), image), words], dim=1)
    prompts = Prompts(ids, torch.ones_like(ids, dtype=torch.bool), pictures)
    mask = torch.ones(rows, work.tokens, dtype=torch.bool)
    row_of = torch.arange(work.prompts).repeat_interleave(work.group)
    said = torch.randint(10, 300, (rows, work.tokens))
    responses = Responses(said, mask, torch.zeros(rows, work.tokens), torch.zeros(rows, dtype=torch.bool), row_of)
    reward = torch.rand(rows)
    return RolloutBatch(prompts, responses, row_of, reward, reward, {"accuracy": reward})


def step_seconds(trainer: Trainer, data: RolloutBatch) -> float:
    """Seconds of one step without sampling."""
    on_gpu = trainer.accelerator.device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
    started = time.perf_counter()
    todo = prepare(trainer, data, 0.5)
    update(trainer, score_old(trainer, todo) if trainer.two_pass else todo, 1e-6)
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(name: str, work: Hardware) -> dict[str, Any]:
    """Medians of seconds, their ratio, and the peak of a GPU's memory (None without one)."""
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    policy = random_policy(name, work, accelerator.device).to(accelerator.device)
    engine = plain(accelerator, policy, 1e-6, 0.1)
    train = Train(prompts=work.prompts, micro_batch=work.micro_batch)
    asker = Asker(policy, BENCHMARKS["geometry3k"].factory(), Prompting())
    collector = Collector(asker, Base(), Sampling(work.group, max_tokens=work.tokens), Reward(), work.prompts)
    trainers = {
        rule: Trainer(policy, engine, accelerator, None, SHAPERS[rule].factory(), Base(), train, collector)
        for rule in ("uniform", work.shaper)
    }
    data, peaks = random_batch(policy, work), dict.fromkeys(trainers, 0)
    seconds: dict[str, list[float]] = {rule: [] for rule in trainers}
    for repeat in range(work.repeats + 1):
        for rule, trainer in trainers.items():
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            taken = step_seconds(trainer, data)
            if repeat:
                seconds[rule].append(taken)
            if torch.cuda.is_available():
                peaks[rule] = max(peaks[rule], torch.cuda.max_memory_allocated())
    ratios = [one / other for one, other in zip(seconds[work.shaper], seconds["uniform"], strict=True)]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "model": name,
        "parameters": sum(p.numel() for p in policy.parameters()),
        "work": {key: value for key, value in asdict(work).items() if key != "out"},
        "seconds": {rule: statistics.median(values) for rule, values in seconds.items()},
        "ratio": statistics.median(ratios),
        "peak_gib": {rule: peak / 2**30 if gpu else None for rule, peak in peaks.items()},
        "machine": asdict(machine(torch.get_num_threads(), gpu, 1 if gpu else 0)),
    }


def table(found: dict[str, Any]) -> str:
    """The numbers as Markdown."""
    rows = [
        (rule, f"{seconds:.3f}", "" if (peak := found["peak_gib"][rule]) is None else f"{peak:.1f}")
        for rule, seconds in found["seconds"].items()
    ]
    return grid(("shaper", "seconds a step, median", "peak GiB"), rows) + f"\nratio {found['ratio']:.3f}"


def main(words: Sequence[str]) -> int:
    """Measures and prints; 2 for words that cannot be used."""
    try:
        if not words or words[0] in ("-h", "--help"):
            print(__doc__)
            return 0
        work = from_words(Hardware, words[1:])
        found = measure(words[0], work)
    except UsageError as error:
        print(f"credit_zoo: {error}", file=sys.stderr)
        return 2
    print(table(found))
    if work.out:
        atomic_write(Path(work.out), json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
