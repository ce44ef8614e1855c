"""Says whether a laboratory is one in which reward matters, from its probe and the records of its runs.

What the gates are is said in `credit_zoo/lab/gates.py`.
"""

from credit_zoo.cli import CommandLine, start

main = CommandLine(
    name="gates",
    about=__doc__,
    settings="credit_zoo.lab.gates:Gates",
    run="credit_zoo.lab.gates:run_gates",
    examples=(
        "probe=leaderboard/gates/probes/geometry3k.json",
        "probe=probe.json out=leaderboard/gates/puzzles.json",
    ),
)

if __name__ == "__main__":
    start(main)
