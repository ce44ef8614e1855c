"""What training costs here: `python -m credit_zoo.profile [PART ...] [SETTING=VALUE ...]`.

Parts, all of them unless some are named: steps (every shaper against uniform, the shared prompt against one for each
response, the release's way), trl (against TRL's GRPOTrainer on the same work), signals, head, growth, start. Settings
are those of `credit_zoo.speed.work.Work`: model=qwen2_5_vl_3b measures that architecture with random weights.

Writes a file for each part to `out=` (leaderboard/speed), then the tables of README.md and leaderboard/SPEED.md and
the picture leaderboard/speed.png, where these are the folders of the repository.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from credit_zoo import leaderboard
from credit_zoo.provenance import machine, package_versions, utc_now
from credit_zoo.registry import UsageError, unknown
from credit_zoo.results import atomic_write
from credit_zoo.settings import from_words
from credit_zoo.speed import computations, picture, table
from credit_zoo.speed.growth import growth
from credit_zoo.speed.start import start
from credit_zoo.speed.steps import steps
from credit_zoo.speed.work import Work

FOLDER = Path("leaderboard/speed")


def _trl(work: Work) -> dict[str, Any]:
    try:
        from credit_zoo.speed.trl import trl
    except ImportError as error:
        raise UsageError(f"the comparison with TRL needs it: pip install 'credit_zoo[trl]' ({error})") from None
    return trl(work)


PARTS: Mapping[str, Callable[[Work], dict[str, Any]]] = {
    "trl": _trl,
    "steps": steps,
    "signals": lambda work: computations.signals(work.repeats),
    "head": lambda work: computations.head(max(work.repeats // 10, 1)),
    "growth": growth,
    "start": lambda work: start(3),
}


def measure(part: str, work: Work, out: Path) -> Path:
    """Measures a part and writes what was found."""
    found = PARTS[part](work)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    kept = {
        "part": part,
        "created": utc_now(),
        "machine": asdict(machine(torch.get_num_threads(), gpu, 1 if gpu else 0)),
        "versions": package_versions(),
        "work": asdict(work),
        "found": found,
    }
    path = out / f"{part if work.model == 'small' else f'{part}-{work.model}'}.json"
    atomic_write(path, json.dumps(kept, indent=1) + "\n")
    return path


def main(words: Sequence[str]) -> int:
    """Returns the exit status: 0, or 2 for a request that cannot be met."""
    try:
        if any(word in ("-h", "--help") for word in words):
            print(__doc__)
            return 0
        named = [word for word in words if "=" not in word]
        for name in named:
            if name not in PARTS:
                raise unknown("part", name, PARTS)
        settings = dict(word.partition("=")[::2] for word in words if "=" in word)
        out = Path(settings.pop("out", str(FOLDER)))
        work = from_words(Work, [f"{name}={value}" for name, value in settings.items()])
        for part in tqdm(named or list(PARTS), desc="measure"):
            print(f"wrote {measure(part, work, out)}", file=sys.stderr)
        print(table.page(table.read(out)))
        if out == FOLDER and Path("README.md").exists():
            picture.draw(table.read(out), FOLDER.parent / "speed.png")
            return leaderboard.main([])
    except UsageError as error:
        print(f"credit_zoo: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
