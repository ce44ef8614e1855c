"""Measures what training costs here, part by part, against TRL and others.

Writes a file for each part to `out`, then the tables of docs/speed.md and leaderboard/SPEED.md and the picture
leaderboard/speed.png, where these are the folders of the repository.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from credit_zoo.cli import CommandLine, start

if TYPE_CHECKING:
    from credit_zoo.speed import Profile


def profile(settings: "Profile") -> int:
    """Measures the parts, writes and prints; returns the exit status."""
    from tqdm import tqdm

    from credit_zoo.leaderboard import Pages, write_pages
    from credit_zoo.speed import FOLDER, PARTS, measure, plots, table

    out = Path(settings.out)
    for part in tqdm(settings.parts or list(PARTS), desc="measure"):
        print(f"wrote {measure(part, settings.work, out)}", file=sys.stderr)
    print(table.page(table.read(out)))
    if out == FOLDER and Path("README.md").exists():
        plots.draw(table.read(out), FOLDER.parent / "speed.png")
        return write_pages(Pages())
    return 0


main = CommandLine(
    name="profile",
    about=__doc__,
    settings="credit_zoo.speed.profile:Profile",
    run="credit_zoo.profile:profile",
    listed="parts",
    examples=(
        "",
        "steps signals",
        "steps model=qwen2_5_vl_3b dtype=bfloat16 checkpointing=true tokens=512 repeats=5",
    ),
)

if __name__ == "__main__":
    start(main)
