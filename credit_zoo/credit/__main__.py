"""Measures rules at a fixed policy: signal, noise and direction of their gradients, against the truth.

No training: the same batches for all rules, an oracle above them, their own shuffles beside them. What is measured, and
how, is said in `credit_zoo/credit/estimates.py` and `credit_zoo/credit/agreement.py`.
"""

from credit_zoo.cli import CommandLine, start

main = CommandLine(
    name="credit",
    about=__doc__,
    settings="credit_zoo.credit.settings:Credit",
    run="credit_zoo.credit.instrument:run_credit",
    examples=(
        "bench=geometry3k shapers=all",
        "bench=geometry3k shapers=all nulls=true minutes=30",
        "bench=puzzles shapers=pepo,permuted(pepo),oracle_exact group=4 batches=48",
    ),
)

if __name__ == "__main__":
    start(main)
