"""The work that is measured: a model of a known configuration with random weights, random pictures and responses."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText

from credit_zoo.errors import UsageError, check_range
from credit_zoo.objective import Base, Reward
from credit_zoo.policy import SMALL_MODEL, BatchLayout, Encoder, ModelConfig, Policy, kept_config, pack
from credit_zoo.questions import PromptConfig
from credit_zoo.registry import BENCHMARKS, CONFIGS, SHAPERS
from credit_zoo.rollout import MeasuredResponses, RolloutWorker, SamplingParams
from credit_zoo.sampled_signals import SAMPLED_SIGNALS
from credit_zoo.training import (
    Collector,
    TrainConfig,
    Trainer,
    UpdateStats,
    before_updates,
    open_accelerator,
    prepare,
    torch_engine,
    update,
)
from credit_zoo.types import Prompts, Responses, RolloutBatch


@dataclass(frozen=True)
class Work:
    """`prompts` x `group` responses of `tokens` to pictures of `high` x `wide` image tokens, `repeats` times.

    `model` is small or a configuration of `configs/model/*.json`; `shapers` names rules, or all.
    """

    model: str = "small"  # small, or a configuration of configs/model/*.json with random weights
    prompts: int = 16  # a step
    group: int = 8  # responses to each
    tokens: int = 32  # of a response
    high: int = 6  # image tokens
    wide: int = 6  # image tokens
    micro_batch: int = 64  # responses read at once
    micro_tokens: int = 0  # tokens read at once; 0: any number
    repeats: int = 41  # rounds of turns
    steps: int = 100  # of the whole run that is compared with TRL's
    dtype: str = "float32"  # float32 or bfloat16
    checkpointing: bool = False  # gradient checkpointing
    shapers: str = "all"  # rules, separated by commas, or all

    def __post_init__(self) -> None:
        for name in ("prompts", "group", "tokens", "high", "wide", "micro_batch", "repeats", "steps"):
            check_range(f"work.{name}", getattr(self, name), 1)
        check_range("work.micro_tokens", self.micro_tokens, 0)
        if self.dtype not in ("float32", "bfloat16"):
            raise UsageError(f"work.dtype must be float32 or bfloat16, got '{self.dtype}'")
        for name in self.rules:
            if truth := SHAPERS[name].facts.truth:
                raise UsageError(f"{name} needs {', '.join(truth)}, which responses of random tokens do not have")

    @property
    def rules(self) -> tuple[str, ...]:
        """The shapers, `uniform` first; all: those that are ranked, for controls cost nobody anything."""
        ranked = (name for name in SHAPERS if not SHAPERS.is_control(name))
        named = tuple(ranked) if self.shapers == "all" else tuple(self.shapers.split(","))
        return ("uniform", *(name for name in named if name != "uniform"))


def architecture(name: str) -> Any:
    """The configuration of a model whose pictures can be made of random patches."""
    config = AutoConfig.from_pretrained(SMALL_MODEL) if name == "small" else kept_config(name)
    if config is None:
        known = ", ".join(["small", *(file.stem for file in sorted((CONFIGS / "model").glob("*.json")))])
        raise UsageError(f"no configuration named '{name}' is kept. There are: {known}")
    if config.model_type != "qwen2_5_vl":
        raise UsageError(f"pictures of random patches are made for Qwen2.5-VL only, and {name} is {config.model_type}")
    return config


def random_policy(config: Any, work: Work, kind: type[Policy] = Policy) -> Policy:
    """The architecture with random weights, on the accelerator if there is one. Texts are never read, so that the
    small model's tokenizer stands in; no token ends a response.
    """
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForImageTextToText.from_config(config, dtype=getattr(torch, work.dtype))
    small = Encoder.load(str(SMALL_MODEL), AutoConfig.from_pretrained(SMALL_MODEL))
    ids = (config.image_token_id, config.video_token_id, config.vision_start_token_id, config.vision_end_token_id)
    never = config.get_text_config().vocab_size
    settings = ModelConfig(path=work.model, gradient_checkpointing=work.checkpointing)
    if torch.cuda.is_available():
        settings = replace(settings, logits_at_once=2**26)
    return kind(model, Encoder(small.tokenizer, small.image_processor, None, ids[0], ids, stops=(never,)), settings)


def with_layout(policy: Policy, layout: Any, kind: type[Policy] = Policy) -> Policy:
    """The same weights read in another layout, or by another way."""
    return kind(policy.model, policy.encoder, replace(policy.settings, layout=layout))


def random_prompts(policy: Policy, work: Work) -> Prompts:
    """Pictures of noise between a few words."""
    generator = torch.Generator().manual_seed(0)
    config = policy.model.config.vision_config
    merge, patch = config.spatial_merge_size, config.in_channels * config.temporal_patch_size * config.patch_size**2
    high, wide = work.high * merge, work.wide * merge
    dtype = getattr(torch, work.dtype)
    pictures = tuple(
        {
            "pixel_values": torch.randn(high * wide, patch, generator=generator).to(dtype),
            "image_grid_thw": torch.tensor([[1, high, wide]]),
        }
        for _ in range(work.prompts)
    )
    words = torch.randint(10, 300, (work.prompts, 8), generator=generator)
    image = torch.full((work.prompts, work.high * work.wide), policy.encoder.image_token)
    ids = torch.cat([words, image, words], dim=1)
    return Prompts(ids, torch.ones_like(ids, dtype=torch.bool), pictures)


def random_batch(policy: Policy, work: Work) -> RolloutBatch:
    """Responses of full length, rewards by lot; measured as if they had been sampled."""
    generator = torch.Generator().manual_seed(1)
    rows = work.prompts * work.group
    mask = torch.ones(rows, work.tokens, dtype=torch.bool)
    row_of = torch.arange(work.prompts).repeat_interleave(work.group)
    said = torch.randint(10, 300, (rows, work.tokens), generator=generator)
    prompts, cut = random_prompts(policy, work), torch.zeros(rows, dtype=torch.bool)
    drawn = Responses(said, mask, torch.zeros(rows, work.tokens), cut, row_of)
    signals = _signals(policy, BatchLayout.of(prompts, drawn), work)
    responses = MeasuredResponses(said, mask, signals["logp"], cut, row_of, signals)
    reward = torch.rand(rows, generator=generator)
    return RolloutBatch(prompts, responses, row_of, reward, reward, {"accuracy": reward})


@torch.no_grad()
def _signals(policy: Policy, rows: BatchLayout, work: Work) -> dict[str, Tensor]:
    """What sampling would have told."""
    rows = rows.to(next(policy.parameters()).device)
    lengths, widest = rows.lengths, rows.mask.shape[1]
    found = {name: torch.zeros(rows.mask.shape) for name in SAMPLED_SIGNALS}
    for part in pack(rows.row_of, lengths, rows.prompt_length, widest, work.micro_batch, work.micro_tokens):
        said = policy(rows.select(part), 1.0)
        for name, values in found.items():
            values[part.rows.cpu(), : part.width] = getattr(said, name).cpu()
    return found


def trainers(policies: dict[str, tuple[Policy, str]], work: Work, temperature: float = 1.0) -> dict[str, Trainer]:
    """A trainer for each pair of a policy and a rule; all move the first policy's weights."""
    accelerator = open_accelerator()
    first = next(iter(policies.values()))[0]
    engine = torch_engine(accelerator, first, 1e-6, 0.0)
    train = TrainConfig(prompts=work.prompts, micro_batch=work.micro_batch, micro_tokens=work.micro_tokens)
    found = {}
    for name, (policy, rule) in policies.items():
        worker = RolloutWorker(policy, BENCHMARKS["geometry3k"].factory(), PromptConfig(), measure=True)
        sampling = SamplingParams(work.group, temperature=temperature, max_tokens=work.tokens)
        collector = Collector(worker, Base(), sampling, Reward(), work.prompts)
        own = replace(engine, module=engine.module if policy is first else policy)
        found[name] = Trainer(policy, own, accelerator, None, SHAPERS[rule].factory(), Base(), train, collector)
    return found


def training_step(trainer: Trainer, data: RolloutBatch, rate: float = 1e-6) -> UpdateStats:
    """A step of training once its responses are there."""
    return update(trainer, before_updates(trainer, prepare(trainer, data, 0.5)), rate)
