"""Says what a policy can do before reinforcement, what goes wrong in it, and whether signals and rules see it.

What is measured, and how, is said in `credit_zoo/lab/probe.py`.
"""

from credit_zoo.cli import CommandLine, start

main = CommandLine(
    name="probe",
    about=__doc__,
    settings="credit_zoo.lab.probe:Probe",
    run="credit_zoo.lab.probe:run_probe",
    examples=(
        "bench=geometry3k",
        "bench=geometry3k out=leaderboard/probes/geometry3k.json questions=200 samples=8",
    ),
)

if __name__ == "__main__":
    start(main)
