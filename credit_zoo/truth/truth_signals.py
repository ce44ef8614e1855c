"""The signals `truth_...` of sampled responses, for controls alone: no honest rule may read them."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from credit_zoo import masked
from credit_zoo.policy import Encoder, Policy
from credit_zoo.rollout import SamplingParams
from credit_zoo.truth.exact_values import exact_values, token_advantage
from credit_zoo.truth.token_roles import Labels, label
from credit_zoo.twins import Example, Twin, Verdict
from credit_zoo.types import RolloutBatch


def truth_signals(
    needs: Iterable[str],
    policy: Policy,
    twin: Twin,
    examples: Sequence[Example],
    batch: RolloutBatch,
    sampling: SamplingParams,
) -> Mapping[str, Tensor]:
    """Those of `needs` that a twin tells, `[B, T]` float32, 0 outside the mask (roles: -1); `examples[n]` is what row n
    of the batch's prompts asks.
    """
    wanted, responses = {name for name in needs if name.startswith("truth_")}, batch.responses
    found: dict[str, Tensor] = {}
    if wanted & {"truth_role", "truth_error"}:
        texts = [policy.encoder.opened + text for text in policy.encoder.decode(responses.ids, responses.mask)]
        rows = responses.row_of.tolist()
        verdicts = [twin.check(examples[row], text) for row, text in zip(rows, texts, strict=True)]
        labels = token_labels(policy.encoder, responses.ids, responses.mask, verdicts)
        device = responses.mask.device
        found["truth_role"] = torch.from_numpy(labels.role).float().to(device)
        found["truth_error"] = masked.fill(torch.from_numpy(labels.error).float().to(device), responses.mask)
    if "truth_advantage" in wanted:
        solutions = ["".join(span.text for span in example.solution) for example in examples]
        device = policy.model.device
        values = exact_values(policy, batch.prompts.to(device), solutions, sampling)
        drawn = (responses.row_of, responses.ids, responses.mask, batch.correct)
        found["truth_advantage"] = token_advantage(values, *(tensor.to(device) for tensor in drawn))
    return {name: found[name] for name in sorted(wanted)}


def token_labels(
    encoder: Encoder, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"], verdicts: Sequence[Verdict]
) -> Labels:
    """The roles and first errors of sampled tokens; no role outside the mask."""

    def decode(ids: list[int]) -> str:
        return str(encoder.tokenizer.decode(ids, skip_special_tokens=True))

    rows = [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)]
    places = [kept.nonzero()[:, 0].tolist() for kept in mask]
    return label(decode, rows, places, verdicts, ids.shape[1])
