"""Draws learning curves: the training accuracy of every rule, from the records. Needs matplotlib."""

from credit_zoo.cli import CommandLine, start

main = CommandLine(
    name="curves",
    about=__doc__,
    settings="credit_zoo.leaderboard.curves:Curves",
    run="credit_zoo.leaderboard.curves:write_curves",
    examples=(
        "",
        "results=leaderboard/results out=curves.png",
        "against=cost",
    ),
)

if __name__ == "__main__":
    start(main)
