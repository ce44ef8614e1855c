"""The measurements as tables, from the files that `python -m credit_zoo.profile` has written."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from credit_zoo.errors import UsageError
from credit_zoo.results import bullets, grid

Found = Mapping[str, Mapping[str, Any]]


def read(folder: Path) -> Found:
    """Every measurement by its file's name; raises `UsageError` naming one that is damaged."""
    return {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is no measurement of costs: {error}; measure anew by `make bench`") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} is no measurement of costs, must be an object; measure anew by `make bench`")
    return found


def summary(found: Found) -> str:
    """What docs/speed.md shows."""
    rows = list(_comparisons(found))
    if not rows:
        return "Nothing was measured yet: `make bench`.\n"
    ladders = found["growth"]["found"] if "growth" in found else {}
    header = ("what", "ours", "against", "ratio [quartiles]")
    growth = grid(("grows with", "from", "to", "time ~ size^k, k =", "memory ~ size^k, k ="), _growth(ladders))
    parts = [bullets(sorted({_machine(one) for one in found.values()})), grid(header, rows)]
    return "\n".join([*parts, *([growth] if ladders else [])])


def page(found: Found) -> str:
    """All of it."""
    parts = [
        "# What a step costs\n",
        "Written by `python -m credit_zoo.profile`; seconds are medians.\n",
        summary(found),
    ]
    for name, one in found.items():
        if one["part"] != "steps":
            continue
        work = one["work"]
        parts.append(
            f"## {work['model']}, {work['dtype']}: {work['prompts']} prompts x {work['group']} responses x "
            f"{work['tokens']} tokens, {work['high'] * work['wide']} image tokens\n"
        )
        parts.append(
            grid(
                ("contender", "seconds", "times faster than uniform [quartiles]", "peak MiB", "largest MiB"),
                _steps(one),
            )
        )
        # Scoring and shaping are those of the last rule, the update is that of uniform.
        rule = [row["name"] for row in one["found"]["rows"] if "," not in row["name"]][-1:]
        title = " ".join(["part of a step, shaped by", *rule])
        parts.append(grid((title, "seconds", "peak MiB"), _parts(one)))
        if work["model"] != "small":
            parts.append(f"{_machine(one)} (`{name}.json`)\n")
    parts += [_floors(one) for one in found.values() if one["part"] == "phases"]
    return "\n".join(parts)


def _machine(one: Mapping[str, Any]) -> str:
    machine, versions = one["machine"], one["versions"]
    where = machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads"
    with_trl = f", trl {versions['trl']}" if one["part"] == "trl" else ""
    return f"{where}; torch {versions['torch']}, transformers {versions['transformers']}{with_trl}"


def _seconds(value: float) -> str:
    return f"{value:.3f} s" if value >= 0.05 else f"{1000 * value:.2f} ms"


def _mib(value: float) -> str:
    return f"{value / 2**20:.1f} MiB"


def _ratio(spread: Mapping[str, float], digits: int = 2) -> str:
    return f"{spread['median']:.{digits}f} [{spread['low']:.{digits}f}, {spread['high']:.{digits}f}]"


def _faster(spread: Mapping[str, float], digits: int = 2) -> str:
    """How many times faster, with quartiles: the one kind of ratio of times in a comparison."""
    return f"{_ratio(spread, digits)} times faster"


def _inverse(spread: Mapping[str, float]) -> Mapping[str, float]:
    """The spread of the times of one over those of another as that of the other's over the one's."""
    return {"median": 1 / spread["median"], "low": 1 / spread["high"], "high": 1 / spread["low"]}


def _share(ours: float, theirs: float) -> str:
    """How much of another's memory, the one kind of ratio of memory."""
    return f"{100 * ours / theirs:#.3g}".rstrip(".") + "% of the memory"


def _comparisons(found: Found) -> Iterator[tuple[str, str, str, str]]:
    if "trl" in found:
        yield from _against_trl(found["trl"]["found"])
    if "run" in found:
        yield from _whole_run(found["run"])
    if "steps" in found:
        yield from _contenders(found["steps"]["found"])
    if "signals" in found:
        for one in found["signals"]["found"].values():
            sizes = f"G = {one['sizes']['group']}, T = N = {one['sizes']['tokens']}, D = {one['sizes']['width']}"
            yield _pair(f"visual similarity of {one['sizes']['layers']} layers, {sizes}", one)
    if "head" in found:
        one = found["head"]["found"]
        sizes = f"{one['sizes']['vocabulary']:,} tokens, N = {one['sizes']['tokens']}, D = {one['sizes']['width']}"
        yield from _head(one, sizes)
    if "start" in found:
        one = found["start"]["found"]
        yield "`--help`", _seconds(one["help"]), "", ""
        yield "from the command to its first step, policy measured before", _seconds(one["first step"]), "", ""


def _against_trl(one: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    seconds = {name: spread["median"] for name, spread in one["seconds"].items()}
    ours, theirs = (seconds[f"{who}, training"] for who in ("ours", "TRL"))
    yield "training step", _seconds(ours), f"{_seconds(theirs)} (TRL)", _faster(one["training"])
    ours, theirs = (seconds[f"{who}, training"] + seconds[f"{who}, sampling"] for who in ("ours", "TRL"))
    yield "whole step, sampling in it", _seconds(ours), f"{_seconds(theirs)} (TRL)", _faster(one["whole"])
    for part, title in (("training", "training step: peak memory"), ("whole", "whole step: peak memory")):
        ours, theirs = (one["peak"][part][who]["peak"] for who in ("ours", "TRL"))
        yield title, _mib(ours), f"{_mib(theirs)} (TRL)", _share(ours, theirs)
    rest = {
        who: one["peak"]["training"][who]["peak"] - one["peak"]["training"][who]["largest"] for who in ("ours", "TRL")
    }
    title = "the same without the largest tensor of each"
    yield title, _mib(rest["ours"]), f"{_mib(rest['TRL'])} (TRL)", _share(rest["ours"], rest["TRL"])


def _whole_run(part: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Both learn, from the warm start on: sums over all steps."""
    one, steps = part["found"], part["work"]["steps"]
    seconds, read = one["seconds"], f"{100 * one['read']:.0f}% of the response tokens read with a gradient"
    for name, title, parts in (
        ("training", f"training over a run of {steps} steps, {read}", ("training",)),
        ("whole", f"a whole run of {steps} steps, sampling in it", ("training", "sampling")),
    ):
        ours, theirs = (sum(seconds[f"{who}, {part}"] for part in parts) for who in ("ours", "TRL"))
        yield title, _seconds(ours), f"{_seconds(theirs)} (TRL)", f"{one[name]:.2f} times faster"


def _contenders(one: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """`pepo` against `uniform`, and `uniform` against other ways to compute the same; a row's ratio is its time over
    that of `uniform`.
    """
    rows = {row["name"]: row for row in one["rows"]}
    for name, row in rows.items():
        if name != "pepo" and "," not in name:
            continue
        close = name == "pepo"
        first, second = (row, rows["uniform"]) if close else (rows["uniform"], row)
        faster = _faster(_inverse(row["ratio"]), 3) if close else _faster(row["ratio"])
        ours, theirs = (_seconds(side["seconds"]["median"]) for side in (first, second))
        yield f"{first['name']}: training step", ours, f"{theirs} ({second['name']})", faster
        peaks = _share(first["peak"], second["peak"])
        yield f"{first['name']}: peak memory", _mib(first["peak"]), f"{_mib(second['peak'])} ({second['name']})", peaks


def _head(one: Mapping[str, Any], sizes: str) -> Iterator[tuple[str, str, str, str]]:
    """Both ways need the weight's gradient besides what is told of memory here."""
    for name, title, held in (
        ("scoring", "log-prob and entropy", 0),
        ("training", "with gradient", one["weight gradient"]),
    ):
        found = one[name]
        title = f"{title}, vocabulary of {sizes}"
        yield _pair(title, found)
        for other in (key for key in found["seconds"] if key.startswith("ours, ")):
            mine, plain = (found["seconds"][key]["median"] for key in (other, "ours"))
            yield (
                f"{title}",
                f"{_seconds(mine)} ({other[6:]})",
                f"{_seconds(plain)} (ours)",
                f"{plain / mine:.2f} times faster",
            )
        ours, whole = (found["peak"][key] - held for key in ("ours", "whole matrix"))
        besides = ", the weight's gradient aside" if held else ""
        yield f"{title}: extra memory{besides}", _mib(ours), f"{_mib(whole)} (whole matrix)", _share(ours, whole)


def _pair(title: str, one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    theirs = next(name for name in one["seconds"] if not name.startswith("ours"))
    mine, other = (one["seconds"][name]["median"] for name in ("ours", theirs))
    return title, _seconds(mine), f"{_seconds(other)} ({theirs})", _faster(one["faster"])


def _growth(ladders: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name, str(one["sizes"][0]), str(one["sizes"][-1]), f"{one['time exponent']:.2f} "
         f"(last step {one['last step exponent']:.2f})", f"{one['memory exponent']:.2f}")
        for name, one in ladders.items()
    ]  # fmt: skip


def _steps(one: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            row["name"],
            f"{row['seconds']['median']:.3f}",
            _ratio(_inverse(row["ratio"]), 3),
            f"{row['peak'] / 2**20:.1f}",
            "" if row["largest"] is None else f"{row['largest'] / 2**20:.1f}",
        )
        for row in one["found"]["rows"]
    ]


def _floors(one: Mapping[str, Any]) -> str:
    """Where the time of a step goes, and how far that is above the arithmetic that must be done."""
    work, told = one["work"], one["found"]
    rows = [
        (
            row["name"],
            f"{row['seconds']:.4f}",
            f"{100 * row['share']:.0f}%",
            "" if row["floor"] is None else f"{row['floor']:.4f}",
            "" if row["above"] is None else f"{row['above']:.1f}",
        )
        for row in told["rows"]
    ]
    rate = f"{told['rate'] / 1e9:.0f} billion operations a second of one large product"
    title = f"## Against its floor: {work['model']}, {work['dtype']}, at {rate}\n"
    return f"{title}\n{grid(('phase', 'seconds', 'share', 'floor, seconds', 'times the floor'), rows)}"


def _parts(one: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (row["name"], f"{row['seconds']['median']:.4f}", f"{row['peak'] / 2**20:.1f}") for row in one["found"]["parts"]
    ]
