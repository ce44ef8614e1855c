"""A policy with the way it is asked and judged: questions to prompts, sampled responses, scores."""

from collections.abc import Sequence
from dataclasses import dataclass

from credit_zoo.policy import Policy
from credit_zoo.question import Question, Score
from credit_zoo.questions import Benchmark, PromptConfig
from credit_zoo.rollout.engines import RolloutEngine
from credit_zoo.rollout.sampling import Draws, SamplingParams, sample
from credit_zoo.types import Prompts, Responses


@dataclass(frozen=True)
class RolloutWorker:
    """A policy with the way it is asked and judged. `tokens` bounds what the policy itself samples together; with
    `measure` its responses are `MeasuredResponses`.
    """

    policy: Policy
    bench: Benchmark
    prompting: PromptConfig
    sampler: RolloutEngine | None = None  # who samples in the policy's place
    tokens: int | None = None  # of prompts and responses; None: any number
    measure: bool = False  # signals, while tokens are sampled

    def generate(
        self, questions: Sequence[Question], prompts: Prompts, sampling: SamplingParams, draws: Draws
    ) -> Responses:
        """Samples `sampling.group` answers to each question."""
        if self.sampler is None:
            return sample(self.policy, prompts, sampling, draws, self.tokens, self.measure)
        return self.sampler(self.policy, [question.image for question in questions], prompts, sampling, draws)

    def generate_and_score(
        self, questions: Sequence[Question], prompts: Prompts, sampling: SamplingParams, draws: Draws
    ) -> tuple[list[list[Score]], Responses]:
        """Samples `sampling.group` answers to each question and scores them."""
        responses = self.generate(questions, prompts, sampling, draws)
        texts = iter(self.texts(responses))
        return [[self.bench.score(q, next(texts)) for _ in range(sampling.group)] for q in questions], responses

    def texts(self, responses: Responses) -> list[str]:
        """The responses as they are judged and kept: what the chat template has opened belongs to each."""
        encoder = self.policy.encoder
        return [encoder.opened + text for text in encoder.decode(responses.ids, responses.mask)]

    def encode(self, questions: Sequence[Question]) -> Prompts:
        """The questions as the policy reads them."""
        return self.policy.encoder.prompts([(q.image, self.prompting.text(self.bench, q)) for q in questions])
