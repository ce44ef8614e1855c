"""PEPO's signals as its release computes them (xzxxntxdy/PEPO@2b1e788): the baseline that ours is measured against.

Every layer's states are stored, each response builds a matrix of response tokens by image tokens for every layer, the
logits are copied by the temperature and again by each softmax, and all of it is differentiated.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from credit_zoo.policy import WHOLE, BatchLayout, Policy, TokenStatistics, Truncation


def similarity(states: Float[Tensor, "T D"], image: Float[Tensor, "N D"]) -> Float[Tensor, " T"]:
    """The mean cosine of one response's states to one image's, of one layer."""
    return (normalize(states, dim=-1) @ normalize(image, dim=-1).T).mean(-1)


def statistics(
    hidden: Tensor, head: nn.Module, ids: Tensor, temperature: float, detach: bool = False
) -> TokenStatistics:
    """From the whole matrix of logits; `detach` spares the entropy its graph, as others do."""
    logits = head(hidden) / temperature
    log_probabilities = logits.log_softmax(-1)
    logp = log_probabilities.gather(-1, ids[..., None])[..., 0]
    with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
        entropy = -(logits.softmax(-1) * log_probabilities).sum(-1)
    return TokenStatistics(logp, entropy, torch.zeros_like(entropy))


class ReleasePolicy(Policy):
    """Scores one row per response, and computes the similarities beside it; they are thrown away."""

    def forward(
        self,
        rows: BatchLayout,
        temperature: float,
        truncation: Truncation = WHOLE,
        beside: Tensor | None = None,
        entropy_gradient: bool = False,
    ) -> TokenStatistics:
        image, start = rows.image_mask(self.encoder.image_token), rows.prompt_length
        inputs = self.base_inputs(rows.input_ids, rows.attention_mask, image)
        # One picture for each response, encoded again.
        pictures = [rows.prompts.vision[row] for row in rows.row_of.tolist()]
        vision = {name: torch.cat([one[name] for one in pictures]) for name in pictures[0]}
        out = self.base(**inputs, **vision, use_cache=False, output_hidden_states=True)
        for b in range(len(rows.row_of)):
            total = sum(similarity(layer[b, start:], layer[b, image[b]]) for layer in out.hidden_states)
            total / len(out.hidden_states)
        before = out.last_hidden_state[:, start - 1 : -1]
        return statistics(before, self.model.get_output_embeddings(), rows.response_ids, temperature)
