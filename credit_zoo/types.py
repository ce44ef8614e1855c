"""The data that flows through a training step, as frozen dataclasses.

Letters: B responses in the batch, T response tokens (padded), P prompt tokens (padded, image tokens included),
G responses per prompt, L decoder layers. `mask` is always bool, True = a token that the policy sampled; it is
never assumed to be a prefix. Log-probabilities and entropies are in nats. `group` numbers the prompt that a
response answers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from jaxtyping import Bool, Float, Int64
from torch import Tensor, device

from credit_zoo import masked

SIGNALS: Mapping[str, str] = {
    "logp": "log-probability of the sampled token under the distribution that is sampled from [nats]",
    "entropy": "entropy of the distribution that the token was sampled from: tempered, truncated [nats]",
    "collision": "sum over the vocabulary of squared probabilities, where entropy is measured (0, 1]",
    "visual_similarity": "mean cosine of the token's state to the image's states, decoder layers 1..L [-1, 1]",
    "visual_similarity_release": "the same over the embedding output and layers 1..L, as PEPO's release has it",
    "visual_similarity_last": "the same in the last decoder layer alone, after the final norm [-1, 1]",
    "view_logp": "log-probability of the sampled token where the policy sees a degraded picture instead [nats]",
    "view_entropy": "entropy of the distribution of that token, under the degraded picture [nats]",
    "view_divergence": "Jensen-Shannon divergence of the two distributions of the token [nats, 0 to log 2]",
    "log_ratio": "log of the token's probability now over that when it was sampled, in the update that is made [nats]",
    "section": "where the token stands, by the tags of the response: 0 thought, 1 answer, -1 tags and what is outside",
    "digit": "1 for a token whose text holds a digit, 0 for others",
    "truth_advantage": "what the token changed in the chance of the right answer: a twin's closed form [-1, 1]",
    "truth_role": "what the token is for, by the twin's checker: 0 read, 1 derived, 2 filler, -1 none",
    "truth_error": "1 at the tokens of the response's first error by the twin's checker, 0 elsewhere",
}


class UndeclaredSignal(AttributeError):
    """A shaper read a signal that its `needs` does not name."""


@dataclass(frozen=True)
class TokenSignals:
    """Measurements of the policy, `[B, T]` float32 and detached: only those that the shaper declared.

    `signals.entropy` reads one; an absent one raises `UndeclaredSignal` with what to add to `needs`.
    """

    values: Mapping[str, Float[Tensor, "B T"]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_") or name == "values":
            raise AttributeError(name)
        if name in self.values:
            return self.values[name]
        known = f'add "{name}" to its needs=(...)' if name in SIGNALS else f"signals are: {', '.join(SIGNALS)}"
        raise UndeclaredSignal(f"signal '{name}' was not declared by this shaper: {known}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)


@dataclass(frozen=True)
class ShaperInputs:
    """All that a shaper may look at.

    `advantage` `[B]` float32 from the estimator; `signals` as declared; `mask` `[B, T]`; `group` `[B]`; `ids`
    `[B, T]` the sampled token ids; `progress` in [0, 1], the share of training done. A shaper of scope
    "response" may be handed any subset of the batch's rows, one of scope "group" any of its groups, whole; one of scope
    "batch" is handed all rows, over all processes. Rows without a token in the mask are left out of training's inputs,
    and must change nothing. `correct` `[B]` is the benchmark's score in [0, 1], before any reward for form or length.
    """

    advantage: Float[Tensor, " B"]
    signals: TokenSignals
    mask: Bool[Tensor, "B T"]
    group: Int64[Tensor, " B"]
    ids: Int64[Tensor, "B T"]
    progress: float
    correct: Float[Tensor, " B"]

    def rows(self, index: Tensor) -> "ShaperInputs":
        """Some rows, by their numbers or by a mask `[B]`."""
        signals = TokenSignals({name: values[index] for name, values in self.signals.values.items()})
        advantage, mask, group, ids = (v[index] for v in (self.advantage, self.mask, self.group, self.ids))
        return ShaperInputs(advantage, signals, mask, group, ids, self.progress, self.correct[index])

    def with_signals(self, more: Mapping[str, Float[Tensor, "B T"]]) -> "ShaperInputs":
        """The same responses with more signals."""
        return replace(self, signals=TokenSignals({**self.signals.values, **more}))

    def weighted(self, weights: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Token advantages `A[b] * weights[b, t]`, 0 outside the mask: how a multiplicative rule ends."""
        return masked.fill(self.advantage[:, None] * weights, self.mask)


@dataclass(frozen=True)
class Prompts:
    """N encoded prompts: `ids` and `mask` `[N, P]`, left-padded; `vision` the image processor's tensors, one mapping
    per prompt, opaque to all but the policy.
    """

    ids: Int64[Tensor, "N P"]
    mask: Bool[Tensor, "N P"]
    vision: tuple[Mapping[str, Tensor], ...]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: Int64[Tensor, " M"]) -> "Prompts":
        """Some of them."""
        return Prompts(self.ids[rows], self.mask[rows], tuple(self.vision[row] for row in rows.tolist()))

    def to(self, device: device) -> "Prompts":
        vision = tuple({name: value.to(device) for name, value in one.items()} for one in self.vision)
        return Prompts(self.ids.to(device), self.mask.to(device), vision)


@dataclass(frozen=True)
class Responses:
    """B sampled responses `[B, T]`, right-padded; `row_of[b]` is the row of the prompts that response b answers.

    `logp` is the log-probability under the distribution that was sampled from (temperature, top-k and top-p
    applied) [nats]; `truncated` marks responses cut at the token limit.
    """

    ids: Int64[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    logp: Float[Tensor, "B T"]
    truncated: Bool[Tensor, " B"]
    row_of: Int64[Tensor, " B"]


@dataclass(frozen=True)
class RolloutBatch:
    """A step's responses with their rewards. `group` `[B]` numbers the prompts over all processes; `reward` is the
    sum of `reward_parts`, which are weighted already; `correct` `[B]` is the benchmark's score in [0, 1].
    """

    prompts: Prompts
    responses: Responses
    group: Int64[Tensor, " B"]
    correct: Float[Tensor, " B"]
    reward: Float[Tensor, " B"]
    reward_parts: Mapping[str, Float[Tensor, " B"]]
