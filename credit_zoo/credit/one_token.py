"""A twin on which credit cannot matter: all tokens are forced but one.

The worked solution up to the first token that is read from the picture stands in the prompt, the policy draws that one
token, and the answer is right if it is the solution's: whatever comes behind would be copied and worked out from it. A
response is one token, so that nothing can be spread over it; rules that keep a response's mean must tie with uniform.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo.credit.drawing import Bench, Solved, asked
from credit_zoo.rollout import generators
from credit_zoo.truth import ROLES, continued, token_advantage, token_labels, values_of
from credit_zoo.types import RolloutBatch


class OneToken(Bench):
    """The bench of that twin. A solution is one token."""

    def solved(self, numbers: Iterable[int]) -> Solved:
        numbers = list(numbers)
        whole, examples, encoder = super().solved(numbers), self.examples(numbers), self.policy.encoder
        assert self.twin is not None
        texts = ["".join(span.text for span in example.solution) for example in examples]
        verdicts = [self.twin.check(*pair) for pair in zip(examples, texts, strict=True)]
        read = token_labels(encoder, whole.ids, whole.mask, verdicts).role == ROLES.index("read")
        places = [int(row.argmax()) for row in read]  # a solution without one has its first token forced
        prefixes = [row[:place].tolist() for row, place in zip(whole.ids, places, strict=True)]
        prompts = continued(whole.prompts, range(len(numbers)), prefixes, encoder.pad_token)
        ids = whole.ids.gather(1, torch.tensor(places)[:, None])
        return Solved(prompts, ids, torch.ones_like(ids, dtype=torch.bool))

    def draw(self, batch: int, again: bool = False) -> RolloutBatch:
        numbers = self.numbers(batch)
        solved, questions = self.solved(numbers), [example.question for example in self.examples(numbers)]
        sampling = replace(self.sampling, max_tokens=1)
        drawn = self.worker.generate(questions, solved.prompts, sampling, generators(self.draws(again), numbers))
        right = (drawn.ids == solved.ids[drawn.row_of])[:, 0].float()
        group = torch.tensor(numbers)[drawn.row_of]
        return RolloutBatch(solved.prompts, drawn, group, right, right, {"accuracy": right})

    def truth(self, batch: RolloutBatch) -> Mapping[str, Float[Tensor, "B T"]]:
        solved, drawn, device = self.solved(asked(batch)), batch.responses, self.policy.model.device
        values = values_of(self.policy, solved.prompts.to(device), solved.ids, solved.mask, self.sampling)
        answers = (drawn.row_of, drawn.ids, drawn.mask, batch.correct)
        advantage = token_advantage(values, *(tensor.to(device) for tensor in answers))
        wrong = (1 - batch.correct[:, None]).to(device)
        return {
            "truth_advantage": advantage,
            "truth_role": torch.full_like(advantage, ROLES.index("read")),
            "truth_error": wrong.expand_as(advantage).contiguous(),
        }
