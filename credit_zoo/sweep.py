"""Works a grid of runs off: those without a record yet, several at once if asked, and goes on after a stop.

The file's lines are words as typed to `credit_zoo.run`; `shaper=a,b seed=1-8` spans a grid (docs/sweep.md).
"""

from credit_zoo.cli import CommandLine, start

main = CommandLine(
    name="sweep",
    about=__doc__,
    settings="credit_zoo.experiment.sweep:Sweep",
    run="credit_zoo.experiment.sweep:run_sweep",
    listed="file",
    examples=(
        "configs/sweep/geometry3k.txt results=leaderboard/results dry_run=true",
        "configs/sweep/geometry3k.txt jobs=2 results=leaderboard/results",
    ),
)

if __name__ == "__main__":
    start(main)
