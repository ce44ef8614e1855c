"""The rollout server, around an engine that is made up: many processes at once, bad requests, broken connections."""

import dataclasses
import http.client
import json
import math
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save
from steps import pictures, prompts

from credit_zoo.errors import UsageError
from credit_zoo.rollout import engines
from credit_zoo.rollout.batching import MergedEngine
from credit_zoo.rollout.engines import RolloutConfig, VllmServerClient, to_responses
from credit_zoo.rollout.sampling import SamplingParams, generators
from credit_zoo.rollout.vllm_engine import Request, Response, _response
from credit_zoo.rollout.vllm_server import LIMITS, RolloutServer

SAMPLING = SamplingParams(group=2, max_tokens=6)


class MadeUp:
    """Tokens that follow from prompt, seed and weights alone; keeps the batches that it was asked. It is busy until
    `open` is set.
    """

    def __init__(self, log_prob=-0.5):
        self.batches, self.loaded, self.log_prob, self.threads = [], [], log_prob, set()
        self.taken, self.open = 0, threading.Event()
        self.open.set()

    def generate(self, requests, sampling):
        self.threads.add(threading.get_ident())
        self.taken += len(requests)
        self.open.wait(30)
        self.batches.append(len(requests))
        if any(len(request.ids) > 1000 for request in requests):
            raise ValueError("the prompt is longer than max_model_len")
        return [[self._said(request, seed) for seed in request.seeds] for request in requests]

    def _said(self, request, seed):
        ids = tuple((sum(request.ids) + seed + k + len(self.loaded)) % 90 + 5 for k in range(1 + seed % 5))
        return Response(ids, (self.log_prob,) * len(ids), False)

    def load_weights(self, weights):
        self.open.wait(30)
        self.loaded.append(dict(weights))


@pytest.fixture
def engine():
    return MadeUp()


@pytest.fixture
def server(engine):
    made = RolloutServer(engine, "127.0.0.1", 0)
    thread = threading.Thread(target=made.serve)
    thread.start()
    yield made
    engine.open.set()
    made.stop()
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def client(server):
    return VllmServerClient(RolloutConfig("vllm", f"http://127.0.0.1:{server.server_port}"))


def until(true, seconds=30):
    """Waits for a condition; whether it came."""
    limit = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < limit:
        time.sleep(0.005)
    return found


def asked(client, policy, rank, encoded=None):
    """What a rank's two questions are answered."""
    encoded = prompts(policy, 2) if encoded is None else encoded
    return client(policy, pictures(2), encoded, SAMPLING, generators(rank, range(2)))


@pytest.mark.parametrize("ranks", [8, 16, 64])
def test_many_processes_at_once_are_one_batch_and_each_gets_its_own(client, server, engine, tiny, ranks):
    encoded = prompts(tiny, 2)
    alone = [asked(client, tiny, rank, encoded) for rank in range(ranks)]
    engine.batches.clear()
    engine.open.clear()
    engine.taken = 0
    with ThreadPoolExecutor(ranks) as pool:
        waiting = [pool.submit(asked, client, tiny, rank, encoded) for rank in range(ranks)]
        # The engine is busy with the first that came until all of them have.
        arrived = until(lambda: engine.taken / 2 + server.merged._waiting.qsize() == ranks)
        engine.open.set()
        found = [one.result(60) for one in waiting]
    assert arrived and sum(engine.batches) == 2 * ranks and len(engine.batches) <= 2
    for one, together in zip(alone, found, strict=True):
        assert all(torch.equal(getattr(one, f.name), getattr(together, f.name)) for f in dataclasses.fields(one))
    assert len(engine.threads) == 1  # the engine is one thread's


def test_weights_are_loaded_after_what_came_before_and_before_what_comes_after(engine):
    merged = MergedEngine(engine)
    request = [Request((1, 2), None, (3,))]
    engine.open.clear()
    with ThreadPoolExecutor(8) as pool:
        jobs = []
        for job in (
            lambda: merged.generate(request, SAMPLING),
            lambda: merged.load_weights([("w", torch.ones(1))]),
            lambda: merged.generate(request, SAMPLING),
            lambda: merged.generate(request, dataclasses.replace(SAMPLING, temperature=0.5)),
        ):
            jobs.append(pool.submit(job))
            assert until(lambda: merged._waiting.qsize() == len(jobs))
        engine.open.set()
        merged.stop()
        merged.run()
        before, _, after, other = [job.result(10) for job in jobs]
    assert before != after == other and len(engine.loaded) == 1
    assert engine.batches == [1, 1, 1]  # two settings are two batches


def test_one_processes_bad_prompt_is_its_own_affair(engine):
    merged = MergedEngine(engine)
    with ThreadPoolExecutor(2) as pool:
        good = pool.submit(merged.generate, [Request((1,), None, (3, 4))], SAMPLING)
        bad = pool.submit(merged.generate, [Request((1,) * 2000, None, (3,))], SAMPLING)
        assert until(lambda: merged._waiting.qsize() == 2)
        merged.stop()
        merged.run()
        assert len(good.result(10)[0]) == 2
        with pytest.raises(ValueError, match="max_model_len"):
            bad.result(10)


GOOD = {"sampling": dataclasses.asdict(SAMPLING), "requests": [{"ids": [5], "image": None, "seeds": [1, 2]}]}


def but(**changed):
    return {**GOOD, "requests": [{**GOOD["requests"][0], **changed}]}


def post(server, path, body, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request("POST", path, body, headers or {})
    answered = connection.getresponse()
    return answered.status, json.loads(answered.read())


@pytest.mark.parametrize("body", [
    b"", b"{", b"\xff\xfe", b"[]", b"1", b"null", b"[" * 100_000, b'{"requests": []}', b"9" * 10_000,
    *(json.dumps(one).encode() for one in (
        {**GOOD, "requests": [5]},
        {**GOOD, "requests": {"ids": [5]}},
        {**GOOD, "sampling": {"group": 2, "shell": "rm"}},
        {**GOOD, "sampling": {"group": 0}},
        {**GOOD, "sampling": []},
        but(ids="12"), but(ids=[]), but(ids=[1.5]), but(ids=[True]), but(ids=[-1]), but(ids=[2**40]),
        but(seeds=[]), but(seeds=None), but(seeds=[2**70]),
        but(image="no base64!"), but(image="AAAA"), but(image=5),
    )),
])  # fmt: skip
def test_what_is_no_request_is_answered_400_and_the_server_lives_on(server, engine, body):
    status, said = post(server, "/generate", body)
    assert status == 400 and "not a request for responses" in said["error"]
    assert engine.batches == []
    status, said = post(server, "/generate", json.dumps(GOOD).encode())
    assert status == 200 and len(said["responses"][0]) == 2


@pytest.mark.parametrize(("path", "headers", "expected"), [
    ("/generate", {"Content-Length": str(LIMITS["/generate"] + 1)}, 413),
    ("/weights", {"Content-Length": str(LIMITS["/weights"] + 1)}, 413),
    ("/weights", {"Content-Length": "-5"}, 411),
    ("/weights", {"Content-Length": "many"}, 411),
    ("/weights", {"Content-Length": "9" * 5000}, 411),
    ("/generate", {"Transfer-Encoding": "chunked"}, 411),
    ("/generate", {"Content-Length": "2", "Origin": "http://elsewhere.example"}, 403),
    ("/shutdown", {"Content-Length": "2"}, 404),
])  # fmt: skip
def test_what_is_too_long_or_not_for_it_is_refused_before_it_is_read(server, path, headers, expected):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as one:
        lines = [f"POST {path} HTTP/1.1", "Host: here", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        one.sendall("\r\n".join(lines).encode())
        answered = http.client.HTTPResponse(one)
        answered.begin()
        assert answered.status == expected and json.loads(answered.read())["error"]


def test_weights_that_are_none_are_answered_400(server, engine):
    assert post(server, "/weights", b"no safetensors")[0] == 400 and engine.loaded == []
    assert post(server, "/weights", save({"w": torch.ones(2)})) == (200, {})
    assert engine.loaded[0]["w"].tolist() == [1, 1]


def test_a_client_that_hangs_up_half_way_holds_up_nobody(server, engine):
    for sent in (b"POST /generate HTTP/1.1\r\nContent-Length: 500\r\n\r\n{", b"GET /hea"):
        with socket.create_connection(("127.0.0.1", server.server_port)) as gone:
            gone.sendall(sent)
    with socket.create_connection(("127.0.0.1", server.server_port)) as silent:
        silent.sendall(b"POST /generate HTTP/1.1\r\nContent-Length: 500\r\n\r\n{")
        assert post(server, "/generate", json.dumps(GOOD).encode())[0] == 200
    assert engine.batches == [1]


@pytest.mark.parametrize("log_prob", [-math.inf, math.nan, math.inf])
def test_a_log_probability_that_is_none_is_one_sentence(client, engine, tiny, log_prob):
    engine.log_prob = log_prob
    with pytest.raises(UsageError, match=r"^vLLM gave (-?inf|nan) as the log-probability of token \d+") as raised:
        asked(client, tiny, 0)
    assert "\n" not in str(raised.value) and "rollout=hf" in str(raised.value)


@pytest.mark.parametrize(("logprobs", "said"), [
    (None, "vLLM gave nan as the log-probability of token 7, number 1 of 2"),
    ([{7: SimpleNamespace(logprob=-1.0)}, {8: SimpleNamespace(logprob=None)}], "of token 8, number 2 of 2"),
    ([{7: SimpleNamespace(logprob=-1.0)}, {9: SimpleNamespace(logprob=-1.0)}], "of token 8, number 2 of 2"),
    ([{7: SimpleNamespace(logprob=-math.inf)}, {8: SimpleNamespace(logprob=-1.0)}], "gave -inf as the .* of token 7"),
])  # fmt: skip
def test_the_engine_names_the_token_that_has_no_log_probability(logprobs, said):
    with pytest.raises(UsageError, match=said):
        _response(SimpleNamespace(token_ids=[7, 8], logprobs=logprobs, finish_reason="stop"))


@pytest.mark.parametrize(("response", "said"), [
    ({"ids": [5], "logp": [None], "truncated": False}, "gave None as the log-probability of token 5, number 1 of 1"),
    ({"ids": [5], "logp": [], "truncated": False}, "0 log-probabilities for 1 tokens"),
    ({"ids": [5] * 9, "logp": [-1.0] * 9, "truncated": True}, "9 tokens, more than sampling.max_tokens=6"),
])  # fmt: skip
def test_responses_that_do_not_fit_are_named(tiny, response, said):
    with pytest.raises(UsageError, match=said):
        to_responses(tiny, [[response] * 2], SAMPLING)
    with pytest.raises(UsageError, match=r"1 responses to a prompt, and not sampling\.group=2"):
        to_responses(tiny, [[response]], SAMPLING)


def test_what_the_engine_says_of_a_failure_reaches_the_trainer(client, engine, tiny):
    engine.generate = lambda requests, sampling: 1 / 0
    with pytest.raises(UsageError, match=r"failed: ZeroDivisionError: division by zero$"):
        asked(client, tiny, 0)


class Breaks:
    """A server that resets or cuts its first connections and answers the next."""

    def __init__(self, broken, sent=b""):
        self.socket, self.broken, self.sent, self.seen = socket.create_server(("127.0.0.1", 0)), broken, sent, 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                one, _ = self.socket.accept()
            except OSError:
                return
            self.seen += 1
            with one:
                one.recv(1)
                if self.seen <= self.broken:
                    one.sendall(self.sent)
                    if not self.sent:  # a reset, and not an end
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                    continue
                one.recv(1 << 16)
                body = json.dumps({"protocol": engines.PROTOCOL}).encode()
                one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"])
@pytest.mark.parametrize("broken", [1, 3, 99])
def test_a_broken_connection_is_tried_again_so_often_and_no_more(monkeypatch, broken, sent):
    pauses = []
    monkeypatch.setattr(engines.time, "sleep", pauses.append)
    server = Breaks(broken, sent)
    client = VllmServerClient(RolloutConfig("vllm", f"http://127.0.0.1:{server.socket.getsockname()[1]}"))
    if broken > engines.RETRIES:
        with pytest.raises(UsageError, match=r"no vLLM server answers at .* 6 times"):
            client.check()
    else:
        assert client.check() == {"protocol": engines.PROTOCOL}
    server.socket.close()
    assert server.seen == min(broken, engines.RETRIES) + (broken <= engines.RETRIES) + (broken > engines.RETRIES)
    bounds = [engines.BACK_OFF * 2**k for k in range(min(broken, engines.RETRIES))]
    assert len(pauses) == len(bounds) and all(b / 2 <= p <= b for p, b in zip(pauses, bounds, strict=True))


def test_a_server_that_is_not_there_is_tried_again_and_one_that_says_no_is_not(monkeypatch, server):
    pauses = []
    monkeypatch.setattr(engines.time, "sleep", pauses.append)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(UsageError, match=r"refused.* 6 times"):
        VllmServerClient(RolloutConfig("vllm", f"http://127.0.0.1:{port}")).check()
    assert len(pauses) == engines.RETRIES
    with pytest.raises(UsageError, match="failed: not a safetensors file"):
        VllmServerClient(RolloutConfig("vllm", f"http://127.0.0.1:{server.server_port}"))._call("/weights", b"none")
    assert len(pauses) == engines.RETRIES
