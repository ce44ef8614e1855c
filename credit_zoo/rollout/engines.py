"""Sampling elsewhere: with vLLM, in this process or behind a server, instead of `credit_zoo.rollout.sampling`."""

import base64
import io
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException, IncompleteRead
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable
from urllib.error import HTTPError, URLError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import torch
from PIL.Image import Image
from safetensors.torch import save
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion

from credit_zoo.errors import UsageError, check_range
from credit_zoo.policy import Policy, merged
from credit_zoo.rollout.sampling import Draws, SamplingParams, chances
from credit_zoo.rollout.vllm_engine import Request, VllmEngine, check_logp
from credit_zoo.types import Prompts, Responses

PROTOCOL = 1
RETRIES = 5  # calls again of a server that refused or reset the connection
BACK_OFF = 0.1  # seconds before the first of them; each waits up to twice as long as the one before


@dataclass(frozen=True)
class RolloutConfig:
    """Who samples. `engine` hf is this package's own loop; vllm is the server at `url` (`credit_zoo.vllm_server`), or
    with `url=none` an engine in this process. `cap` bounds the correction of what the two disagree on.
    """

    engine: Literal["hf", "vllm"] = "hf"  # who samples
    url: str = "http://127.0.0.1:8000"  # of the server; none: an engine in this process
    cap: float = 2.0  # on the importance weight of a token, [1, inf)
    timeout: float = 600.0  # seconds for an answer
    memory: float = 0.3  # of the GPU, for an engine in this process

    def __post_init__(self) -> None:
        if self.engine not in ("hf", "vllm"):
            raise UsageError(f"rollout.engine must be hf or vllm, got {self.engine!r}")
        check_range("rollout.cap", self.cap, 1)
        check_range("rollout.timeout", self.timeout, 0, open_low=True)
        check_range("rollout.memory", self.memory, 0, 1, open_low=True)


@runtime_checkable
class RolloutEngine(Protocol):
    """Something that samples in the policy's place, and has to be told its weights; `shared` by all processes, or one
    in each.
    """

    @property
    def shared(self) -> bool: ...

    def __call__(
        self, policy: Policy, images: Sequence[Image | None], prompts: Prompts, sampling: SamplingParams, draws: Draws
    ) -> Responses: ...

    def sync(self, policy: Policy) -> None:
        """Hands over the policy's weights."""
        ...


def vllm_ids(policy: Policy, prompts: Prompts) -> list[tuple[int, ...]]:
    """The prompts without padding, one token for each picture: vLLM puts in as many as the picture needs."""
    image, found = policy.encoder.image_token, []
    for row, mask in zip(prompts.ids, prompts.mask, strict=True):
        ids = row[mask].tolist()
        found.append(tuple(t for k, t in enumerate(ids) if t != image or k == 0 or ids[k - 1] != image))
    return found


def weights_of(policy: Policy) -> dict[str, Tensor]:
    """All weights by their names in a checkpoint, adapters added in; of tied ones the first."""
    distinct: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in merged(policy.model).items():
        distinct.setdefault(tensor.data_ptr(), (name, tensor))
    named: dict[str, Tensor] = revert_weight_conversion(policy.model, dict(distinct.values()))
    return named


def seeds(count: int, sampling: SamplingParams, draws: Draws) -> list[tuple[int, ...]]:
    """A seed for each response, from as many draws as sampling here would take."""
    drawn = chances(count, sampling, draws)[:, 0].view(count, sampling.group)
    return [tuple(int(one * 2**31) for one in row) for row in drawn]


def to_responses(policy: Policy, found: Sequence[Sequence[Mapping[str, Any]]], sampling: SamplingParams) -> Responses:
    """Responses as tensors, padded as our own sampler pads them. Raises `UsageError` on what cannot be responses."""
    _check(found, sampling)
    flat = [response for group in found for response in group]
    size = (len(flat), sampling.max_tokens)
    ids = torch.full(size, policy.encoder.pad_token)
    mask, logp = torch.zeros(size, dtype=torch.bool), torch.zeros(size)
    for row, response in enumerate(flat):
        length = len(response["ids"])
        ids[row, :length], mask[row, :length] = torch.tensor(response["ids"]), True
        logp[row, :length] = torch.tensor(response["logp"])
    cut = torch.tensor([response["truncated"] for response in flat])
    return Responses(ids, mask, logp, cut, torch.arange(len(found)).repeat_interleave(sampling.group))


def _check(found: Sequence[Sequence[Mapping[str, Any]]], sampling: SamplingParams) -> None:
    for group in found:
        if len(group) != sampling.group:
            raise UsageError(f"vLLM gave {len(group)} responses to a prompt, and not sampling.group={sampling.group}")
        for response in group:
            if len(response["ids"]) > sampling.max_tokens:
                raise UsageError(
                    f"vLLM gave a response of {len(response['ids'])} tokens, more than "
                    f"sampling.max_tokens={sampling.max_tokens}"
                )
            check_logp(response["ids"], response["logp"])


@dataclass(frozen=True)
class VllmServerClient:
    """A server's client. Every failure is one sentence that names `rollout.url`."""

    settings: RolloutConfig
    shared: ClassVar[bool] = True

    def check(self) -> Mapping[str, Any]:
        """What the server says of itself; raises `UsageError` if there is none, or one of another version."""
        payload = self._call("/health", None, timeout=10)
        if payload.get("protocol") != PROTOCOL:
            raise UsageError(
                f"rollout.url={self.settings.url} speaks version {payload.get('protocol')} of the protocol, this "
                f"trainer {PROTOCOL}: start the server from the same version of credit_zoo"
            )
        return payload

    def __call__(
        self, policy: Policy, images: Sequence[Image | None], prompts: Prompts, sampling: SamplingParams, draws: Draws
    ) -> Responses:
        parts = zip(vllm_ids(policy, prompts), images, seeds(len(prompts), sampling, draws), strict=True)
        requests = [{"ids": ids, "image": _png(image), "seeds": own} for ids, image, own in parts]
        body = json.dumps({"sampling": asdict(sampling), "requests": requests}).encode()
        found = self._call("/generate", body).get("responses", ())
        if len(found) != len(requests):
            raise UsageError(f"rollout.url={self.settings.url} answered {len(found)} of {len(requests)} prompts")
        return to_responses(policy, found, sampling)

    def sync(self, policy: Policy) -> None:
        weights = {name: tensor.cpu().contiguous() for name, tensor in weights_of(policy).items()}
        self._call("/weights", save(weights))

    def _call(self, path: str, body: bytes | None, timeout: float | None = None) -> Mapping[str, Any]:
        """Calls again, with a growing pause, where the connection was refused or broke: many processes ask at once,
        and asking twice is harmless, as a response follows from its seed.
        """
        attempt = 0
        while True:
            try:
                return self._once(path, body, timeout or self.settings.timeout)
            except HTTPError as error:
                why = _reason(error)
                raise UsageError(f"the server at rollout.url={self.settings.url} failed: {why}") from error
            except (URLError, HTTPException, OSError, ValueError) as error:
                if attempt == RETRIES or not _broken(error):
                    times = f", {attempt + 1} times" if attempt else ""
                    raise UsageError(
                        f"no vLLM server answers at rollout.url={self.settings.url} ({error}{times}): start one with "
                        "python -m credit_zoo.vllm_server MODEL, or set rollout=hf"
                    ) from error
            # Not the same pause for all: they would come back together. This source is no one else's.
            time.sleep(BACK_OFF * 2**attempt * random.SystemRandom().uniform(0.5, 1))
            attempt += 1

    def _once(self, path: str, body: bytes | None, timeout: float) -> Mapping[str, Any]:
        with urlopen(HttpRequest(self.settings.url + path, data=body), timeout=timeout) as response:
            payload: Mapping[str, Any] = json.load(response)
            return payload


def _reason(error: HTTPError) -> str:
    """What a server said of a failure: the sentence in its JSON, or the beginning of whatever it sent."""
    said = error.read(2000).decode(errors="replace")
    try:
        return str(json.loads(said)["error"])
    except (ValueError, TypeError, KeyError):
        return said or str(error)


def _broken(error: Exception) -> bool:
    """Whether a connection was refused, reset or cut, and another one may not be."""
    reason = error.reason if isinstance(error, URLError) else error
    return isinstance(reason, (ConnectionError, IncompleteRead))


@dataclass(frozen=True)
class InProcessVllm:
    """An engine in this process, which sleeps while the trainer works where it can: it wakes its weights to be told new
    ones, and the rest of its memory to sample.
    """

    engine: VllmEngine
    shared: ClassVar[bool] = False

    def __call__(
        self, policy: Policy, images: Sequence[Image | None], prompts: Prompts, sampling: SamplingParams, draws: Draws
    ) -> Responses:
        parts = zip(vllm_ids(policy, prompts), images, seeds(len(prompts), sampling, draws), strict=True)
        requests = [Request(*part) for part in parts]
        self.engine.wake()
        found = self.engine.generate(requests, sampling)
        self.engine.sleep()
        return to_responses(policy, [[asdict(one) for one in group] for group in found], sampling)

    def sync(self, policy: Policy) -> None:
        self.engine.wake("weights")
        self.engine.load_weights(weights_of(policy).items())


def _png(image: Image | None) -> str | None:
    if image is None:
        return None
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def sampler(settings: RolloutConfig, policy: Policy, max_length: int) -> RolloutEngine | None:
    """Who samples in the policy's place; None for the policy itself."""
    if settings.engine == "hf":
        return None
    if settings.url != "none":
        server = VllmServerClient(settings)
        server.check()
        return server
    try:
        import vllm  # noqa: F401
    except ImportError:
        raise UsageError("rollout.url=none needs vllm in this environment; give the url of a server instead") from None
    options: dict[str, Any] = {"gpu_memory_utilization": settings.memory} if torch.cuda.is_available() else {}
    room = min(max_length, policy.model.config.get_text_config().max_position_embeddings)
    model = policy.settings
    options |= {"revision": model.revision, "trust_remote_code": model.trust_remote_code}
    return InProcessVllm(_engine(model.source, model.dtype, room, **options))


_running: dict[str, VllmEngine] = {}


def _engine(path: str, dtype: str, max_length: int, **options: Any) -> VllmEngine:
    """The engine of these settings: a process keeps one for all its seeds, since weights are told anew."""
    key = repr((path, dtype, max_length, sorted(options.items())))
    if key not in _running:
        close_engines()
        _running[key] = VllmEngine(path, dtype, max_length, **options)
    return _running[key]


def close_engines() -> None:
    """Ends the engines in this process. Among several processes vLLM then ends their group too, so that it is the last
    thing that they do together.
    """
    while _running:
        _running.popitem()[1].close()
