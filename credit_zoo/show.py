"""Draws what rules do: the tokens of one sampled answer, coloured by their weights.

Orange tokens weigh more than 1, blue ones less.
"""

from credit_zoo.cli import CommandLine, start

main = CommandLine(
    name="show",
    about=__doc__,
    settings="credit_zoo.lab.token_heatmap:Show",
    run="credit_zoo.lab.token_heatmap:show",
    examples=(
        "shaper=pepo,entropy,high_entropy bench=geometry3k index=0 out=tokens.png",
        "plugins=mine.py shaper=mine,uniform",
    ),
)

if __name__ == "__main__":
    start(main)
