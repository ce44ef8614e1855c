"""Who may import whom, read from the sources, and how large things may grow.

A module imports from smaller layers only; what it may import of its own layer is listed beside the table.
"""

import ast
import io
import subprocess
import sys
import tokenize
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ANSWERS = ("answers", "plaintext", "surds", "mathexpr", "mathanswers", "choices", "boxes")
LAYERS = (
    ("masked", "types"),
    ("registry", "settings", "bench"),
    (
        *("shapers", "shapers.*", "fusion", "shaping", "advantages", "losses", "base", "rewards"),
        *(*ANSWERS, "twins", "twins.*", "data", "hub", "fewshot", "official", "prompting", "symbolic"),
    ),
    (
        "encoder",
        "packing",
        "rows",
        "head",
        "head_triton",
        "kernels",
        "prefix",
        "lora",
        "policy",
        "signals",
        "rollout",
        "sampler",
        "vllm_engine",
        "mismatch",
        "smallmodel",
        "benchmarks",
        "benchmarks.*",
    ),
    (
        "questions",
        "grading",
        "answerlog",
        "harness",
        "collect",
        "diagnostics",
        "checkpoint",
        "engine",
        "zero",
        "saves",
        "stopping",
        "provenance",
        "record",
        "results",
        "stats",
        "markdown",
        "noise",
        "aggregate",
        "page",
        "readme",
        "auroc",
        "chance",
        "tokenroles",
        "probes",
        "probefigures",
        "speed",
        "speed.table",
        "speed.picture",
    ),
    ("step", "loop", "leaderboard", "curves", "rescore", "command", "config"),
    ("plan", "context", "measuring", "experiment", "pretrain", "show", "probe", "vllm_server", "run"),
    ("speed.*", "profile"),
    ("cases", "testing"),  # for tests, here and of shapers elsewhere; nothing of the package imports them
)
WITHIN = {
    "types": ("masked",),
    "settings": ("registry",),
    "shapers.*": ("fusion",),
    "base": ("advantages", "losses"),
    "mathexpr": ("surds",),
    "mathanswers": ("mathexpr", "plaintext", "surds"),
    "choices": ("mathanswers", "plaintext"),
    "answers": ("boxes", "choices", "mathanswers", "plaintext"),
    "twins": ("twins.*",),
    "twins.*": ("twins", "twins.*"),
    "packing": ("encoder",),
    "rows": ("packing",),
    "head_triton": ("head",),
    "kernels": ("head", "head_triton"),
    "policy": ("encoder", "head", "kernels", "lora", "prefix", "rows"),
    "signals": ("head", "policy", "rows"),
    "rollout": ("policy",),
    "sampler": ("lora", "policy", "rollout", "vllm_engine"),
    "vllm_engine": ("rollout",),
    "smallmodel": ("encoder",),
    "hub": ("data",),
    "fewshot": ("data", "hub", "answers"),
    "official": ("plaintext",),
    "grading": ("record",),
    "answerlog": ("grading", "provenance", "results"),
    "harness": ("answerlog", "grading"),
    "chance": ("grading",),
    "collect": ("harness", "questions"),
    "zero": ("engine",),
    "saves": ("diagnostics", "results"),
    "record": ("provenance",),
    "results": ("record",),
    "noise": ("stats", "markdown"),
    "aggregate": ("stats", "markdown"),
    "page": ("stats", "markdown", "noise", "aggregate"),
    "readme": ("markdown", "page", "probes"),
    "auroc": ("stats",),
    "probes": ("markdown", "provenance", "results"),
    "probefigures": ("auroc", "probes", "tokenroles"),
    "loop": ("step",),
    "config": ("command", "step"),
    "measuring": ("context",),
    "experiment": ("context", "measuring"),
    "speed.table": ("markdown",),
    "speed.picture": ("speed.table",),
    "speed.*": ("speed.*",),
    "profile": ("speed.*",),
    "run": ("experiment", "plan"),
    "testing": ("cases",),
}
WITHOUT_TORCH = (
    *("registry", "settings", "bench", "rewards", *ANSWERS, "twins", "twins.*", "data", "prompting", "benchmarks.*"),
    *("hub", "fewshot", "official", "grading", "answerlog", "rescore"),
    *(
        "questions",
        "provenance",
        "record",
        "results",
        "stats",
        "markdown",
        "noise",
        "aggregate",
        "page",
        "readme",
        "auroc",
        "chance",
        "tokenroles",
        "probes",
        "probefigures",
        "leaderboard",
        "curves",
        "speed",
        "speed.table",
        "speed.picture",
        "command",
        "config",
        "run",
    ),
)
MODEL_LIBRARIES = {"transformers", "tokenizers", "accelerate", "deepspeed", "vllm", "safetensors"}


def sources() -> dict[str, Path]:
    """Every module by its name below `credit_zoo`; the package itself is the empty name."""
    files = {file.relative_to(ROOT / "credit_zoo"): file for file in (ROOT / "credit_zoo").rglob("*.py")}
    files |= {file.relative_to(ROOT): file for file in (ROOT / "benchmarks").glob("*.py")}
    return {".".join(inner.with_suffix("").parts).removesuffix("__init__").rstrip("."): files[inner] for inner in files}


MODULES = sources()
TREES = {name: ast.parse(file.read_text("utf-8")) for name, file in MODULES.items()}


def imported(tree: ast.Module) -> set[str]:
    """The names that a module imports, at its top or inside a function, but not for type checkers alone."""
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in set(ast.walk(tree)) - for_types:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(name: str) -> str | None:
    """The module of the package that an imported name stands for or comes from; None for other libraries."""
    if name.split(".")[0] != "credit_zoo":
        return None
    short = name.removeprefix("credit_zoo").lstrip(".")
    return short if short in MODULES else short.rpartition(".")[0]


EDGES = {name: {inside(one) for one in imported(tree)} - {None, ""} for name, tree in TREES.items()}
LIBRARIES = {name: {one.split(".")[0] for one in imported(tree)} for name, tree in TREES.items()}


def pattern_of(name: str) -> str:
    patterns = [pattern for layer in LAYERS for pattern in layer if fnmatch(name, pattern)]
    assert patterns, f"{name} has no layer: enter it in the table of this file"
    return max(patterns, key=len)


def layer_of(name: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if pattern_of(name) in layer)


def matches(name: str, patterns) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


# --- imports -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(MODULES) - {""}))
def test_a_module_imports_from_smaller_layers_only(name):
    within = WITHIN.get(pattern_of(name), ())
    upward = {one for one in EDGES[name] if layer_of(one) >= layer_of(name) and not matches(one, within)}
    assert not upward, f"{name} (layer {layer_of(name)}) imports {', '.join(sorted(upward))}"


def test_every_entry_of_the_table_is_a_module_and_every_permission_is_used():
    assert [p for layer in LAYERS for p in layer if not any(fnmatch(name, p) for name in MODULES)] == []
    unused = {
        (pattern, one)
        for pattern, permitted in WITHIN.items()
        for one in permitted
        if one != pattern and not any(fnmatch(e, one) for n in MODULES if fnmatch(n, pattern) for e in EDGES[n])
    }
    assert unused == set()


def test_imports_make_no_circle():
    order = list(TopologicalSorter(EDGES).static_order())  # raises CycleError and names the circle
    assert order.index("registry") < order.index("run")


def test_shapers_never_import_each_other_nor_the_loop():
    for name in MODULES:
        if name.startswith("shapers."):
            assert EDGES[name] <= {"fusion", "masked", "registry", "types"}, name


def test_benchmarks_import_the_protocol_answers_data_and_twins_alone():
    for name in MODULES:
        if name.startswith("benchmarks."):
            allowed = ("bench", *ANSWERS, "registry", "data", "hub", "fewshot", "twins", "twins.*")
            assert all(matches(one, allowed) for one in EDGES[name]), name
            assert not LIBRARIES[name] & {"torch", *MODEL_LIBRARIES}, name


def test_only_registry_and_config_import_gin():
    assert {name for name, libraries in LIBRARIES.items() if "gin" in libraries} == {"registry", "config"}


def test_only_the_layers_of_the_model_and_above_know_its_libraries():
    knowing = {name for name, libraries in LIBRARIES.items() if libraries & MODEL_LIBRARIES}
    assert knowing
    assert all(layer_of(name) >= layer_of("policy") for name in knowing)


def test_nothing_of_the_package_imports_what_is_for_tests():
    for name, edges in EDGES.items():
        if name not in ("cases", "testing"):
            assert not edges & {"cases", "testing"}, name
            assert not LIBRARIES[name] & {"pytest", "hypothesis", "beartype"}, name


def test_answers_results_stats_leaderboard_and_the_command_import_without_torch():
    names = sorted(name for name in MODULES if matches(name, WITHOUT_TORCH))
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(f'credit_zoo.{name}')\n"
        "    loaded = {'torch', 'transformers', 'accelerate'} & set(sys.modules)\n"
        "    assert not loaded, f'{name} imports {loaded}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- sizes -------------------------------------------------------------------------------------------------------


def code_lines(source: str) -> int:
    """Lines that hold code: not blank, no comment, no docstring."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_the_package_stays_within_its_budget_of_lines_beside_the_twins():
    sizes = {name: code_lines(file.read_text("utf-8")) for name, file in MODULES.items()}
    assert sum(size for name, size in sizes.items() if not name.startswith("twins")) < 10_000


def test_no_file_is_longer_than_300_lines():
    lengths = {name: len(file.read_text("utf-8").splitlines()) for name, file in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_no_function_is_longer_than_60_lines():
    functions = [
        (f"{name}.{node.name}", node.body[-1].end_lineno - node.body[0].lineno + 1)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    assert [(name, length) for name, length in functions if length > 60] == []


def test_there_is_no_drawer_for_odds_and_ends_and_nothing_unfinished():
    for name, file in MODULES.items():
        assert file.stem not in ("utils", "util", "helpers", "common", "misc"), name
        text = file.read_text("utf-8")
        unfinished = ("NotImplemented" + "Error", "TO" + "DO", "FIX" + "ME")
        assert not [word for word in unfinished if word in text], name
