"""vLLM's engine around a checkpoint: the one module that imports vllm.

What it samples from is what the trainer trains: vision tokens are forbidden, log-probabilities are those of the
distribution that was sampled from, and token ids are handed on, never text that would have to be encoded again.
"""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from transformers import AutoConfig

from credit_zoo.errors import UsageError
from credit_zoo.rollout.sampling import SamplingParams

FORBID = -100.0  # the lowest bias that vLLM takes; exp(-100) of the rest's probability is none in float32
PARTS = ("weights", "kv_cache")  # of an engine's memory, as vLLM names them
_ADVICE = "use the version of vLLM that make test-vllm installs, with logprobs_mode=processed_logprobs, or rollout=hf"
_VISION = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


@dataclass(frozen=True)
class Request:
    """One prompt, in which one token stands for the whole picture, and a seed for each response to it."""

    ids: tuple[int, ...]
    image: Image | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Response:
    """Sampled ids, stop token included, their log-probabilities [nats], and whether the limit cut it."""

    ids: tuple[int, ...]
    logp: tuple[float, ...]
    truncated: bool


class VllmEngine:
    """A running engine. `options` are vLLM's own (`gpu_memory_utilization`, `tensor_parallel_size` ...).

    Weights, tokenizer, generation config and code are of one `revision`. Among several processes of one launcher each
    has an engine of its own, on its own GPU. Where there is a GPU an engine can sleep, and does when it is told.
    """

    def __init__(
        self,
        path: str,
        dtype: str,
        max_length: int,
        revision: str = "main",
        trust_remote_code: bool = False,
        **options: Any,
    ) -> None:
        # An engine in a process of its own could be told weights by pickled code alone.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        from vllm import LLM, _custom_ops

        if not torch.cuda.is_available():
            # Packed weights could not be replaced: the head's, tied to the embedding, would stay what it was.
            _custom_ops._supports_onednn = False
        config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=trust_remote_code)
        vision = [getattr(config, name, None) for name in _VISION]
        self._forbidden = {token: FORBID for token in vision if token is not None}
        settings: dict[str, Any] = {
            "enforce_eager": not torch.cuda.is_available(),
            "limit_mm_per_prompt": {"image": 1},
            "logprobs_mode": "processed_logprobs",
            "enable_prefix_caching": True,
            "enable_sleep_mode": torch.cuda.is_available(),
            # With it vLLM moves a seeded generator back by an offset, which generators on the CPU do not have.
            "enable_chunked_prefill": torch.cuda.is_available(),
            "disable_log_stats": True,
            "revision": revision,
            "tokenizer_revision": revision,
            "code_revision": revision,
            "trust_remote_code": trust_remote_code,
        }
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            # Otherwise vLLM would begin a group of processes anew, and every engine on the first GPU.
            settings["distributed_executor_backend"] = "external_launcher"
        settings |= options
        self._sleeps, self._asleep = bool(settings["enable_sleep_mode"]), list[str]()
        self._llm = LLM(model=path, dtype=dtype, max_model_len=max_length, **settings)

    def generate(self, requests: Sequence[Request], sampling: SamplingParams) -> list[list[Response]]:
        """`len(request.seeds)` responses to every request, in order."""
        prompts, settings = [], []
        for request in requests:
            prompt: dict[str, Any] = {"prompt_token_ids": list(request.ids)}
            if request.image is not None:
                prompt["multi_modal_data"] = {"image": request.image}
            for seed in request.seeds:
                prompts.append(prompt)
                settings.append(self._settings(sampling, seed))
        found = iter(self._llm.generate(prompts, settings, use_tqdm=False))
        return [[_response(next(found).outputs[0]) for _ in request.seeds] for request in requests]

    def _settings(self, sampling: SamplingParams, seed: int) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_tokens,
            seed=seed,
            logprobs=0,
            logit_bias=self._forbidden,
            detokenize=False,
        )

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Takes weights under their names in a checkpoint; what was read with the old ones is forgotten."""
        named = list(weights)
        self._llm.apply_model(lambda model: model.load_weights(iter(named)) and None)
        self._llm.reset_prefix_cache()
        self._llm.reset_mm_cache()
        self._llm.llm_engine.reset_encoder_cache()

    def sleep(self) -> None:
        """Frees the memory of weights and cache while the trainer works; the host's memory keeps the weights. Does
        nothing where an engine cannot sleep.
        """
        if self._sleeps:
            self._llm.sleep(level=1)
            self._asleep = list(PARTS)

    def wake(self, *parts: str) -> None:
        """Ends `sleep`, of these `PARTS` or of all; what is awake stays so, for its memory cannot be taken twice."""
        waking = [part for part in self._asleep if part in (parts or PARTS)]
        if waking:
            self._llm.wake_up(waking)
            self._asleep = [part for part in self._asleep if part not in waking]

    def close(self) -> None:
        """Ends the engine; it cannot be used any more."""
        self._llm.llm_engine.engine_core.shutdown()


def _response(output: Any) -> Response:
    ids = tuple(output.token_ids)
    entries = output.logprobs or [None] * len(ids)
    found = [getattr((entry or {}).get(token), "logprob", None) for token, entry in zip(ids, entries, strict=True)]
    logp = tuple(math.nan if one is None else float(one) for one in found)
    check_logp(ids, logp)
    return Response(ids, logp, output.finish_reason == "length")


def check_logp(ids: Sequence[int], logp: Sequence[float | None]) -> None:
    """Raises `UsageError` unless every token has a finite log-probability: without one nothing can be corrected."""
    if len(ids) != len(logp):
        raise UsageError(f"vLLM gave {len(logp)} log-probabilities for {len(ids)} tokens of a response: {_ADVICE}")
    for place, (token, one) in enumerate(zip(ids, logp, strict=True), start=1):
        if one is None or not math.isfinite(one):
            raise UsageError(
                f"vLLM gave {one} as the log-probability of token {token}, number {place} of {len(ids)} of a response, "
                f"and not a finite number: {_ADVICE}"
            )
