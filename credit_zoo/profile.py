"""What training costs here: `python -m credit_zoo.profile [PART ...] [SETTING=VALUE ...]`.

Parts, all of them unless some are named: steps (every shaper against uniform, the shared prompt against one for each
response, the release's way), trl (against TRL's GRPOTrainer on the same work), signals, head, growth, start. Settings
are those of `credit_zoo.speed.work.Work`: model=qwen2_5_vl_3b measures that architecture with random weights.

Writes a file for each part to `out=` (leaderboard/speed), then the tables of README.md and leaderboard/SPEED.md and
the picture leaderboard/speed.png, where these are the folders of the repository.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from credit_zoo.cli import from_arguments
from credit_zoo.leaderboard import pages
from credit_zoo.registry import UsageError, unknown
from credit_zoo.speed import FOLDER, PARTS, Work, measure, picture, table


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status: 0, or 2 for a request that cannot be met."""
    try:
        if any(word in ("-h", "--help") for word in arguments):
            print(__doc__)
            return 0
        named = [word for word in arguments if "=" not in word]
        for name in named:
            if name not in PARTS:
                raise unknown("part", name, PARTS)
        settings = dict(word.partition("=")[::2] for word in arguments if "=" in word)
        out = Path(settings.pop("out", str(FOLDER)))
        work = from_arguments(Work, [f"{name}={value}" for name, value in settings.items()])
        for part in tqdm(named or list(PARTS), desc="measure"):
            print(f"wrote {measure(part, work, out)}", file=sys.stderr)
        print(table.page(table.read(out)))
        if out == FOLDER and Path("README.md").exists():
            picture.draw(table.read(out), FOLDER.parent / "speed.png")
            return pages.main([])
    except UsageError as error:
        print(f"credit_zoo: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
