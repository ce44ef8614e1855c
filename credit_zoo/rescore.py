"""Grades kept answers anew, without the model, with the rules of today."""

from credit_zoo.cli import CommandLine, start

main = CommandLine(
    name="rescore",
    about=__doc__,
    settings="credit_zoo.evaluation.rescore:Rescore",
    run="credit_zoo.evaluation.rescore:rescore",
    listed="logs",
    examples=(
        "runs/RUN/answers/*.jsonl.gz",
        "runs/RUN/answers/*.jsonl.gz results=leaderboard/results write=true",
    ),
)

if __name__ == "__main__":
    start(main)
