"""Sampling elsewhere: with vLLM, in this process or behind a server, instead of `credit_zoo.rollout.sampling`."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable
from urllib.error import HTTPError, URLError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import torch
from PIL.Image import Image
from safetensors.torch import save
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion

from credit_zoo.policy import Policy, merged
from credit_zoo.registry import UsageError, check_range
from credit_zoo.rollout.sampling import Draws, SamplingParams, chances
from credit_zoo.types import Prompts, Responses

if TYPE_CHECKING:
    from credit_zoo.rollout.vllm_engine import VllmEngine

PROTOCOL = 1


@dataclass(frozen=True)
class RolloutConfig:
    """Who samples. `engine` hf is this package's own loop; vllm is the server at `url` (`credit_zoo.vllm_server`), or
    with `url=none` an engine in this process. `cap` bounds the correction of what the two disagree on.
    """

    engine: Literal["hf", "vllm"] = "hf"
    url: str = "http://127.0.0.1:8000"
    cap: float = 2.0
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
    """Something that samples in the policy's place, and has to be told its weights."""

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
    """Responses as tensors, padded as our own sampler pads them."""
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


@dataclass(frozen=True)
class VllmServerClient:
    """A server's client. Every failure is one sentence that names `rollout.url`."""

    settings: RolloutConfig

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
        return to_responses(policy, self._call("/generate", body)["responses"], sampling)

    def sync(self, policy: Policy) -> None:
        weights = {name: tensor.cpu().contiguous() for name, tensor in weights_of(policy).items()}
        self._call("/weights", save(weights))

    def _call(self, path: str, body: bytes | None, timeout: float | None = None) -> Mapping[str, Any]:
        try:
            request = HttpRequest(self.settings.url + path, data=body)
            with urlopen(request, timeout=timeout or self.settings.timeout) as response:
                payload: Mapping[str, Any] = json.load(response)
                return payload
        except HTTPError as error:
            why = error.read(2000).decode(errors="replace")
            raise UsageError(f"the server at rollout.url={self.settings.url} failed: {why}") from error
        except (URLError, HTTPException, OSError, ValueError) as error:
            raise UsageError(
                f"no vLLM server answers at rollout.url={self.settings.url} ({error}): start one with "
                "python -m credit_zoo.vllm_server MODEL, or set rollout=hf"
            ) from error


@dataclass(frozen=True)
class InProcessVllm:
    """An engine in this process, which sleeps while the trainer works where it can."""

    engine: "VllmEngine"

    def __call__(
        self, policy: Policy, images: Sequence[Image | None], prompts: Prompts, sampling: SamplingParams, draws: Draws
    ) -> Responses:
        from credit_zoo.rollout.vllm_engine import Request

        parts = zip(vllm_ids(policy, prompts), images, seeds(len(prompts), sampling, draws), strict=True)
        requests: list[Request] = [Request(*part) for part in parts]
        self.engine.wake()
        found = self.engine.generate(requests, sampling)
        self.engine.sleep()
        return to_responses(policy, [[asdict(one) for one in group] for group in found], sampling)

    def sync(self, policy: Policy) -> None:
        self.engine.wake()
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
    from credit_zoo.rollout.vllm_engine import VllmEngine

    options: dict[str, Any] = {"gpu_memory_utilization": settings.memory} if torch.cuda.is_available() else {}
    room = min(max_length, policy.model.config.get_text_config().max_position_embeddings)
    model = policy.settings
    options |= {"revision": model.revision, "trust_remote_code": model.trust_remote_code}
    return InProcessVllm(VllmEngine(model.source, model.dtype, room, **options))
