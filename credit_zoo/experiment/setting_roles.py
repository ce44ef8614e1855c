"""Which settings decide a run's numbers, and the digests of the code that they follow from.

Every setting stands in exactly one of three lists; a test refuses one that stands in none. `DECIDING` ones are part of
what a run is: runs that differ in one never share a row nor a pair. `MEASURING` ones say how a benchmark is measured
and stand with each measurement. `BESIDE` ones cannot change a number but by the rounding of sums in another order.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from credit_zoo.answers import GRADER_VERSION
from credit_zoo.experiment.config import ExperimentConfig, settings_of
from credit_zoo.experiment.setting_owners import PIECES, chooses_layers, looks_at_a_view
from credit_zoo.registry import BENCHMARKS, SHAPERS
from credit_zoo.results import code_digest

GRADER = f"rules v{GRADER_VERSION}"
DECIDING = (
    *("base.estimator", "base.ratio", "base.loss", "base.aggregation", "base.kl_beta"),
    *("base.entropy_beta", "base.perception_gamma"),
    *("base.dynamic_sampling", "base.max_resampling_rounds", "base.overlong_filter", "base.overlong_cache"),
    *("train.steps", "train.prompts", "train.updates", "train.lr", "train.lr_schedule", "train.warmup"),
    *("train.weight_decay", "train.max_grad_norm", "train.shaper_schedule", "train.view"),
    *("sampling.group", "sampling.temperature", "sampling.top_p", "sampling.top_k", "sampling.max_tokens"),
    *("reward.format", "reward.accuracy", "reward.overlap"),
    *("model.dtype", "model.freeze_vision", "model.boxes", "model.layout", "model.kernel", "model.similarity_layers"),
    *("model.lora_rank", "model.lora_alpha", "model.trust_remote_code"),
    *("prompt.style", "prompt.suffix"),
    *("data.skip_bad", "data.perception", "data.reasoning", "data.length"),
    *("rollout.engine", "rollout.cap"),
)
MEASURING = (
    *("eval.questions", "eval.samples", "eval.temperature", "eval.top_p", "eval.top_k", "eval.max_tokens"),
    *("eval.greedy", "eval.split", "eval.seed", "eval.temperature_row"),
)
BESIDE: Mapping[str, str] = {
    "train.micro_batch": "how many responses are read at once",
    "train.micro_tokens": "how many tokens are read at once",
    "train.rollout_tokens": "how many tokens are sampled at once",
    "model.path": "where the weights lay: their digest and that of the encoder tell what was there",
    "model.revision": "which weights to fetch: their digest and that of the encoder tell what came",
    "model.gradient_checkpointing": "reads layers twice to save memory",
    "model.logits_at_once": "how much of the vocabulary is read at once",
    "eval.every": "how often the log tells of a measurement",
    "eval.batch": "how many questions are asked at once",
    "eval.tokens": "how many tokens are asked at once",
    "parallel.processes": "how a run is spread",
    "parallel.zero": "how a run is spread",
    "parallel.offload": "where the optimizer's state lies",
    "checkpoint.every": "how often a run is saved",
    "checkpoint.keep": "how many saves stay",
    "rollout.url": "where the sampler is",
    "rollout.timeout": "how long to wait for it",
    "rollout.memory": "how much memory it may take",
}


def deciding(config: ExperimentConfig, *groups: str) -> dict[str, Any]:
    """The deciding settings of some groups as `group.setting`, without those that the others leave unused."""
    found = {f"{group}.{key}": value for group in groups for key, value in settings_of(getattr(config, group)).items()}
    return {name: value for name, value in found.items() if name in DECIDING and name not in _unused(config)}


def _unused(config: ExperimentConfig) -> Iterator[str]:
    if config.rollout.engine == "hf":
        yield "rollout.cap"
    if not looks_at_a_view(config.shaper, config.base):
        yield "train.view"
    if config.model.similarity_layers == "all" or not chooses_layers(config.shaper):
        yield "model.similarity_layers"
    if config.model.lora_rank == 0:
        yield "model.lora_alpha"
    if config.data.length == 0:
        yield "data.length"


def shaper_code(name: str) -> str:
    """The digest of a rule's sources."""
    return _loaded(SHAPERS[name].files)


def base_code(config: ExperimentConfig) -> str:
    """The digest of the sources of a base's pieces and of the reward."""
    pieces = [PIECES[slot].of(getattr(config.base, slot)).file for slot in PIECES]
    return _loaded((*pieces, *(Path(inspect.getfile(type(one))) for one in (config.base, config.reward))))


def bench_code(name: str) -> str:
    """The digest of a benchmark's own source. What it takes from this package (answers, questions, twins) has versions
    of its own, which every record carries.
    """
    return _loaded((BENCHMARKS[name].file,), within_package=False)


@cache
def _loaded(files: tuple[Path, ...], within_package: bool = True) -> str:
    """Read once: a file that is edited while the process goes on is not the code that it runs."""
    return code_digest(files, within_package)
