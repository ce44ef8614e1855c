"""Writes a report for the browser: the board, every rule and run, and sampled answers coloured by credit.

From the committed records; no network, no server: the pages open from a folder. Answers are sampled and measured once,
and kept beside the records.
"""

from credit_zoo.cli import CommandLine, start

main = CommandLine(
    name="report",
    about=__doc__,
    settings="credit_zoo.report.site:Report",
    run="credit_zoo.report.site:write_report",
    examples=(
        "--open",
        "results=results out=report",
        "plugins=mine.py shapers=mine,pepo,siblings model=small examples=3",
    ),
)

if __name__ == "__main__":
    start(main)
