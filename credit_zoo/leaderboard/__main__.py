"""Rewrites the leaderboard from the records; of the published one also what README.md and docs/ show of them.

A damaged or repeated record is named, the others count; with check=true it fails the check.
"""

from credit_zoo.cli import CommandLine, start

main = CommandLine(
    name="leaderboard",
    about=__doc__,
    settings="credit_zoo.leaderboard.site:Pages",
    run="credit_zoo.leaderboard.site:write_pages",
    examples=(
        "",
        "check=true",
        "results=results",
    ),
)

if __name__ == "__main__":
    start(main)
