"""The accuracy while a policy learns, as a measurement beside those at the end of training.

    accuracy while learning = mean over the steps of the share of right answers among those sampled to learn from

It is the area under the learning curve. Every question is a new one to the policy that answers it, and a run answers
thousands, so seeds differ less in it than in a test of some hundred questions; it tells who learns sooner, not who ends
higher. Comparisons are paired by seed, and their intervals are over seeds alone.
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from credit_zoo.lab import area
from credit_zoo.leaderboard.tables import measurements, table
from credit_zoo.results import Decoding, Evaluation, RunRecord, first_runs, logs_every_step

WHILE_LEARNING = "accuracy while learning"


def while_learning(records: Sequence[RunRecord]) -> pd.DataFrame:
    """One row an arm, as `credit_zoo.leaderboard.tables.table` has them, of the runs that logged every step."""
    found = [replace(one, evaluations=(_measured(one),)) for one in first_runs(records) if logs_every_step(one)]
    return table(measurements(found))


def with_learning(board: pd.DataFrame, records: Sequence[RunRecord]) -> pd.DataFrame:
    """The arms of a board, and those of the accuracy while learning."""
    return pd.concat([board, while_learning(records)], ignore_index=True)


def _measured(record: RunRecord) -> Evaluation:
    """The mean over the steps as one score: steps are no sample of questions that could be drawn anew."""
    assert record.training is not None
    source, mean = record.training.source, area(record) / 100
    return Evaluation(
        bench=source.bench,
        bench_version=source.bench_version,
        split=source.split,
        twin=source.twin,
        revision=source.revision,
        stage="after",
        questions=1,
        samples=1,
        decoding=Decoding(temperature=1.0, top_p=1.0, top_k=0, max_tokens=1, seed=0),
        grader="",
        prompt="",
        metric=WHILE_LEARNING,
        value=mean,
        greedy=None,
        pass_at_n=None,
        correctness=(mean,),
        question_ids="",
        extraction_failures=0.0,
        unformatted=0.0,
        truncated=0.0,
        categories={},
    )
