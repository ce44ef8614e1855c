"""Draws a contact sheet of a twin: examples with their questions and worked solutions."""

from credit_zoo.cli import CommandLine, start

main = CommandLine(
    name="sheet",
    about=__doc__,
    settings="credit_zoo.twins.sheet:Sheet",
    run="credit_zoo.twins.sheet:write_sheet",
    examples=(
        "twin=geometry3k out=geometry3k.png",
        "twin=mathvista out=mathvista.png perception=0.5 reasoning=0.5",
    ),
)

if __name__ == "__main__":
    start(main)
