"""What a run shows of its steps: a bar on a terminal, a line now and then elsewhere, and a log in the run's folder."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from credit_zoo.experiment.context import RunContext
from credit_zoo.training import StepReport

LINES = 20  # of a whole training, where the output is no terminal


@contextmanager
def showing(context: RunContext, before: int) -> Iterator[Callable[[StepReport], None]]:
    """Within it, what is called with every step: `before` steps were done by an earlier start.

    The log is `steps.jsonl`, a line of numbers for each step; what an earlier start logged behind its last save goes.
    """
    if not context.accelerator.is_main_process:
        yield lambda step: None
        return
    steps, path = context.config.train.steps, context.folder / "steps.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = path.read_text(encoding="utf-8").splitlines()[:before] if before and path.exists() else []
    path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    each = max(1, steps // LINES)
    with tqdm(total=steps, initial=before, desc="train", disable=None) as bar, path.open("a", encoding="utf-8") as log:

        def show(step: StepReport) -> None:
            print(json.dumps(step.scalars()), file=log, flush=True)
            bar.set_postfix(step.short(), refresh=False)
            bar.update()
            if bar.disable and (step.step % each == 0 or step.step in (1, steps)):
                numbers = ", ".join(f"{name} {value}" for name, value in step.short().items())
                context.log(f"step    {step.step} of {steps}: {numbers}")

        yield show
