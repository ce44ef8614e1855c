"""The numbers that papers report, as a page: one table for each table of a paper, its sources and notes."""

import pandas as pd

from credit_zoo.results import bullets, escape, grid


def reported_page(frame: pd.DataFrame) -> str:
    """The whole page."""
    parts = ["# Reported by papers (not run here)\n"]
    parts.append("As printed by their authors, under their own protocols: not comparable with runs of this package.\n")
    for (paper, table, model), rows in frame.groupby(["paper", "table", "model"], sort=False):
        columns = list(dict.fromkeys(zip(rows["benchmark"], rows["metric"], strict=True)))
        named = zip(rows["method"], rows["benchmark"], rows["metric"], rows["value"], strict=True)
        cells = {(method, benchmark, metric): value for method, benchmark, metric, value in named}
        lines = [
            [method, *(cells.get((method, *column), "") for column in columns)]
            for method in dict.fromkeys(rows["method"])
        ]
        parts.append(f"## {escape(f'{paper}, {table}: {model}')}\n")
        parts.append(grid(["method", *(f"{benchmark} ({metric})" for benchmark, metric in columns)], lines))
        parts.append(bullets([*(f"source: {source}" for source in dict.fromkeys(rows["source"])), *_notes(rows)]))
    return "\n".join(parts)


def _notes(rows: pd.DataFrame) -> list[str]:
    """Each note ("; " separates several) once, with the methods it is about unless it is about all."""
    about: dict[str, dict[str, None]] = {}
    for method, notes in zip(rows["method"], rows["note"], strict=True):
        for note in filter(None, notes.split("; ")):
            about.setdefault(note, {})[method] = None
    everyone = set(rows["method"])
    return [note if set(methods) == everyone else f"{', '.join(methods)}: {note}" for note, methods in about.items()]
