"""Which run a command would be, told before it runs, as its record will tell it: the key, and what it measures.

Nothing is trained or sampled: weights and questions are digested, once for all runs that share them.
"""

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

from accelerate import Accelerator

from credit_zoo import CONTRACT_VERSION
from credit_zoo.cli import Command, parse, trained_bench
from credit_zoo.experiment.config import ExperimentConfig, benchmark, resolve, settings_of
from credit_zoo.experiment.context import (
    RunContext,
    base_piece,
    identity,
    measure_of,
    rule_piece,
    start_model,
    training_settings,
    training_source,
)
from credit_zoo.experiment.evaluate import check_data, data_folder, eval_set, refusal
from credit_zoo.policy import Policy, weights_digest
from credit_zoo.questions import open_questions
from credit_zoo.results import MEASURE, RunRecord, key_of, plain, run_key, utc_now
from credit_zoo.training import open_accelerator


@dataclass(frozen=True)
class ExpectedRun:
    """A run that is to be: `key` and `measures` as its record will have them; what its cost follows from."""

    command: Command
    key: str
    measures: frozenset[str]
    model: str
    trained_on: str | None
    responses: int  # sampled in training, the first of a group of rounds
    answers: int  # to all questions, before and after

    def is_recorded(self, recorded: "Recorded") -> bool:
        """Whether a record of this very run has everything that it would measure."""
        return self.measures <= recorded.get(self.key, frozenset())


Recorded = dict[str, frozenset[str]]


def recorded(records: Sequence[RunRecord]) -> Recorded:
    """What each run's records have measured at their end, by the run's key."""
    found: Recorded = {}
    for record in records:
        after = [one for one in record.evaluations if one.stage == "after"]
        told = frozenset(_measure({name: getattr(one, name) for name in MEASURE}) for one in after)
        found[run_key(record)] = found.get(run_key(record), frozenset()) | told
    return found


def _measure(fields: dict[str, Any]) -> str:
    return json.dumps(plain(fields), sort_keys=True)


@dataclass
class Foresight:
    """Tells runs ahead; keeps the policies and digests that several share."""

    policies: dict[str, tuple[Policy, str]] = field(default_factory=dict)
    measures: dict[str, str] = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)
    identities: dict[str, Any] = field(default_factory=dict)
    accelerator: Accelerator = field(default_factory=open_accelerator)

    def expected(self, words: Sequence[str]) -> ExpectedRun:
        """The run of a command of one seed; raises `UsageError` for words that cannot be used together."""
        command = parse(words)
        config = resolve(command)
        check_data(command, config)
        policy, weights = self._policy(config)
        context = RunContext(command, config, command.seeds[0], "ahead", utc_now(), self.accelerator, policy, weights)
        trains = not command.eval_only
        lesson = trained_bench(command) if trains else None
        trained = None
        if lesson is not None:
            source = training_source(lesson, "train", self._source(context, lesson))
            trained = (source, config.train.steps, training_settings(context, lesson))
        pieces = (rule_piece(context), base_piece(context)) if trains else (None, None)
        key = key_of(CONTRACT_VERSION, *pieces, context.seed, start_model(context), trained, self._identity(context))
        measures = [self._measure(context, name) for name in command.bench]
        asked = sum(json.loads(one)["questions"] for one in measures)
        return ExpectedRun(
            command=command,
            key=key,
            measures=frozenset(measures),
            model=start_model(context).name,
            trained_on=lesson,
            responses=config.train.steps * config.train.prompts * config.sampling.group if trains else 0,
            answers=asked * config.eval.samples * (2 if trains else 1),
        )

    def _policy(self, config: ExperimentConfig) -> tuple[Policy, str]:
        key = repr(config.model)
        if key not in self.policies:
            policy = Policy.load(config.model)
            self.policies[key] = policy, weights_digest(policy)
        return self.policies[key]

    def _identity(self, context: RunContext) -> Any:
        """Which follows from these settings and the policy alone."""
        config = context.config
        key = repr((config.model, config.prompt, config.data, config.rollout))
        if key not in self.identities:
            self.identities[key] = identity(context)
        return self.identities[key]

    def _measure(self, context: RunContext, name: str) -> str:
        config, command = context.config, context.command
        own = settings_of(benchmark(command, name))
        key = repr((name, config.eval, config.prompt, config.data, config.model, command.data, command.eval_only, own))
        if key not in self.measures:
            with redirect_stdout(io.StringIO()):  # which tells what is measured, as a run does
                asked = eval_set(context, name)
            self.measures[key] = _measure(measure_of(config, name, asked))
        return self.measures[key]

    def _source(self, context: RunContext, name: str) -> Any:
        config, command = context.config, context.command
        bench = benchmark(command, name)
        key = repr((name, config.data, config.model, command.data, settings_of(bench)))
        if key not in self.sources:
            folder = data_folder(command, name)
            rows = open_questions(bench, "train", folder, config.data, context.seed, True, refusal(context, bench))
            self.sources[key] = rows.source
        return self.sources[key]
