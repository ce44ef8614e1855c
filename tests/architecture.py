"""The rooms of the package, read from the sources: who imports whom, and the page that shows it.

    python tests/architecture.py            # writes the generated blocks of docs/architecture.md

`test_layers.py` holds the sources to the table `FLOORS`, and the page to what this file writes.
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
# A room imports from the floors above its own only. Files beside the rooms are rooms of their own.
FLOORS = (
    ("masked", "errors", "question"),
    ("facts", "rule_names"),
    ("registry", "sampled_signals"),
    ("types", "answers", "twins", "results"),
    ("shapers", "objective", "questions"),
    ("benchmarks", "policy"),
    ("rollout",),
    ("truth",),
    ("evaluation", "training"),
    ("cli", "testing"),
    ("speed", "hosts", "credit"),
    ("lab",),
    ("leaderboard", "hardware"),
    ("experiment", "report"),
    ("commands",),
)
# What a user starts by `python -m credit_zoo.NAME`, or imports; they stand beside the rooms, or are a room's `__main__`.
COMMANDS = (
    *(
        "__main__",
        "api",
        "run",
        "sweep",
        "show",
        "gates",
        "probe",
        "pretrain",
        "curves",
        "rescore",
        "profile",
        "check_gpu",
        "vllm_server",
        "sheet",
        "trl",
        "verl",
        "ms_swift",
    ),
    *("leaderboard.__main__", "credit.__main__", "report.__main__"),
)


def sources() -> dict[str, Path]:
    """Every module by its name below `credit_zoo`; a room's face by the room's name, the package itself by ""."""
    files = {file.relative_to(ROOT / "credit_zoo"): file for file in (ROOT / "credit_zoo").rglob("*.py")}
    files |= {file.relative_to(ROOT): file for file in (ROOT / "benchmarks").glob("*.py")}
    return {".".join(inner.with_suffix("").parts).removesuffix("__init__").rstrip("."): files[inner] for inner in files}


MODULES = sources()
TREES = {name: ast.parse(file.read_text("utf-8")) for name, file in MODULES.items()}


def imported(tree: ast.Module) -> set[str]:
    """The names that a module imports, at its top, inside a function, or for type checkers alone."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(name: str) -> str | None:
    """The module of the package that an imported name stands for or comes from; None for other libraries.

    A name that a room's face hands on comes from the module that the face takes it from.
    """
    if name.split(".")[0] != "credit_zoo":
        return None
    short = name.removeprefix("credit_zoo").lstrip(".")
    if short in MODULES:
        return short
    room, _, leaf = short.rpartition(".")
    return FACES.get(room, {}).get(leaf, room)


def face(room: str) -> dict[str, str]:
    """The public names of a room, and the module that each one comes from; read from the stub beside its face."""
    stub = MODULES[room].with_suffix(".pyi")
    nodes = ast.parse(stub.read_text("utf-8")).body if stub.exists() else []
    modules = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"{room}.{node.module}" for node in modules for alias in node.names}


def room_of(name: str) -> str:
    """The room that a module stands in; of a file beside the rooms its own name."""
    return "commands" if name in COMMANDS else name.split(".")[0]


ROOMS = sorted({room_of(name) for name in MODULES if "." in name} - {"commands"})
FACES = {room: face(room) for room in ROOMS}
EDGES = {name: {inside(one) for one in imported(tree)} - {None, ""} for name, tree in TREES.items()}
LIBRARIES = {name: {one.split(".")[0] for one in imported(tree)} for name, tree in TREES.items()}


def arrows() -> dict[str, set[str]]:
    """Which rooms each room imports from."""
    found: dict[str, set[str]] = {room_of(name): set() for name in MODULES if name}
    for name, edges in EDGES.items():
        if name:
            found[room_of(name)] |= {room_of(one) for one in edges} - {room_of(name)}
    return found


def purpose(room: str) -> str:
    """The first line of what a room, or a file beside the rooms, says of itself."""
    if room == "commands":
        return "what a user starts, `python -m credit_zoo.NAME`, and what a user imports, `credit_zoo.api`"
    return (ast.get_docstring(TREES[room]) or "").split("\n")[0].rstrip(".")


def table() -> str:
    """The floors, highest first: what a room is for and what it imports."""
    found = arrows()
    rows = ["| floor | room | what it is for | imports |", "| --- | --- | --- | --- |"]
    for floor, rooms in enumerate(FLOORS, 1):
        for room in rooms:
            rows.append(f"| {floor} | `{room}` | {purpose(room)} | {', '.join(sorted(found[room]))} |")
    return "\n".join(rows)


def tree() -> str:
    """The package's files with the first line of each."""
    lines = []
    for room in [one for floor in FLOORS for one in floor if one in ROOMS]:
        lines.append(f"{room}/")
        own = sorted(name for name in MODULES if name.startswith(f"{room}."))
        lines += [f"    {name.split('.')[1]:<20} {first_line(name)}" for name in own]
    for name in sorted(name for name in MODULES if name and "." not in name and name not in ROOMS):
        lines.append(f"{name + '.py':<24} {first_line(name)}")
    return "\n".join(["```", *lines, "```"])


def first_line(name: str) -> str:
    """The first line of a module's docstring, cut to the page's width."""
    text = (ast.get_docstring(TREES[name]) or "").split("\n")[0]
    return text if len(text) <= 96 else text[:93].rsplit(" ", 1)[0] + " ..."


def diagram() -> str:
    """The rooms as a graph; an arrow that others already imply is left out, and so are the files that all import."""
    beside = {*FLOORS[0], *FLOORS[1], "types"}
    found = {room: edges - beside for room, edges in arrows().items() if room not in beside}

    def reach(room: str) -> set[str]:
        return set().union(*({one} | reach(one) for one in found.get(room, ())))

    lines = ["```mermaid", "graph BT"]
    for floor in FLOORS:
        for room in floor:
            implied = set().union(*(reach(one) for one in found.get(room, ())))
            lines += [f"    {room} --> {one}" for one in sorted(found.get(room, set()) - implied)]
    return "\n".join([*lines, "```"])


def filled(text: str) -> str:
    """The page with its generated blocks written anew."""
    for name, block in (("rooms", table()), ("diagram", diagram()), ("tree", tree())):
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        assert re.search(pattern, text, re.DOTALL), f"{PAGE} has no block {name}"
        text = re.sub(pattern, lambda match, b=block: f"{match[1]}{b}\n{match[2]}", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
    sys.exit(print(f"wrote {PAGE}"))
