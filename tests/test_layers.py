"""Who may import whom, by rooms, read from the sources (`architecture.py` has the table), and how large things may grow."""

import ast
import io
import subprocess
import sys
import tokenize
from fnmatch import fnmatch
from graphlib import TopologicalSorter

import pytest
from architecture import (
    EDGES,
    FACES,
    FLOORS,
    LIBRARIES,
    MODULES,
    PAGE,
    ROOMS,
    ROOT,
    TREES,
    arrows,
    filled,
    imported,
    room_of,
)

WITHOUT_TORCH = (
    *("registry", "question", "answers.*", "twins.*", "questions.*", "benchmarks.*", "results.*", "leaderboard.*"),
    *("objective.rewards", "evaluation.baselines", "evaluation.generations", "evaluation.grading"),
    *(
        "evaluation.rescore",
        "credit.page",
        "credit.forest",
        "lab.auroc",
        "lab.probe_figures",
        "lab.probe_record",
        "truth.token_roles",
    ),
    *("speed.plots", "speed.table", "cli.*", "experiment.config", "run", "rescore", "curves"),
)
MODEL_LIBRARIES = {"transformers", "tokenizers", "accelerate", "deepspeed", "vllm", "safetensors"}


def floor_of(name: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS) if room_of(name) in rooms]
    assert found, f"{name} has no floor: enter its room in the table of architecture.py"
    return found[0]


# --- imports -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(MODULES) - {""}))
def test_a_module_imports_from_its_own_room_and_the_floors_above(name):
    upward = {one for one in EDGES[name] if room_of(one) != room_of(name) and floor_of(one) >= floor_of(name)}
    assert not upward, f"{name} (floor {floor_of(name)}) imports {', '.join(sorted(upward))}"


def test_types_stand_on_masked_and_every_room_of_the_table_is_there():
    assert EDGES["types"] == {"masked"}
    assert {room for floor in FLOORS for room in floor} == set(arrows())


def test_rooms_and_modules_make_no_circle():
    list(TopologicalSorter(arrows()).static_order())  # raises CycleError and names the circle
    order = list(TopologicalSorter(EDGES).static_order())
    assert order.index("registry") < order.index("run")


def test_another_room_is_entered_by_its_face():
    """What a face hands on is not imported past it; a face hands on nothing that no other room uses."""
    used: set[tuple[str, str]] = {("testing", "check_shaper")}
    for name, tree in TREES.items():
        for one in imported(tree):
            room, _, leaf = one.removeprefix("credit_zoo.").partition(".")
            if one.startswith("credit_zoo.") and room in ROOMS and room_of(name) != room:
                module, _, thing = leaf.rpartition(".")
                past = FACES[room].get(thing) == f"{room}.{module}"
                assert not (module and past), f"{name} imports {one}: say `from credit_zoo.{room} import {thing}`"
                used.add((room, leaf))
    assert {(room, leaf) for room, names in FACES.items() for leaf in names} - used == set()


def test_every_room_says_what_it_is_for_in_a_few_lines():
    for room in ROOMS:
        assert ast.get_docstring(TREES[room]), room
        assert len(MODULES[room].read_text("utf-8").splitlines()) <= 18, room


def test_shapers_never_import_each_other_nor_the_loop():
    for name in MODULES:
        if name.startswith("shapers."):
            shared = {one for one in EDGES[name] if one.startswith("shapers._")}  # what several rules have in common
            assert EDGES[name] - shared <= {"errors", "facts", "masked", "registry", "rule_names", "types"}, name


def test_benchmarks_import_questions_answers_and_twins_alone():
    for name in MODULES:
        if name.startswith("benchmarks."):
            rooms = {room_of(one) for one in EDGES[name]}
            assert rooms <= {"question", "questions", "answers", "twins", "registry", "errors"}, name
            assert not LIBRARIES[name] & {"torch", *MODEL_LIBRARIES}, name


def test_only_registry_and_config_import_gin():
    assert {name for name, libraries in LIBRARIES.items() if "gin" in libraries} == {"registry", "experiment.config"}


def test_only_the_rooms_of_the_model_and_below_know_its_libraries():
    knowing = {name for name, libraries in LIBRARIES.items() if libraries & MODEL_LIBRARIES}
    assert knowing
    assert all(floor_of(name) >= floor_of("policy") for name in knowing)


def test_the_package_runs_without_what_is_for_tests():
    """`testing` is part of a run, which checks its rule first; Hypothesis alone stays with those who test."""
    for name in EDGES:
        assert not LIBRARIES[name] & {"pytest", "beartype"}, name
        assert "hypothesis" not in LIBRARIES[name] or room_of(name) == "testing", name


def test_answers_results_leaderboard_and_the_command_import_without_torch():
    names = sorted(name for name in MODULES if any(fnmatch(name, pattern) for pattern in WITHOUT_TORCH))
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(f'credit_zoo.{name}')\n"
        "    loaded = {'torch', 'transformers', 'accelerate'} & set(sys.modules)\n"
        "    assert not loaded, f'{name} imports {loaded}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_shows_the_rooms_as_they_are():
    text = PAGE.read_text("utf-8")
    assert filled(text) == text, "run `python tests/architecture.py` and commit docs/architecture.md"


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


def test_a_room_can_be_read_in_one_sitting():
    """What counts is what a newcomer reads to change one thing: a room. The twins are data more than code."""
    sizes: dict[str, int] = {}
    for name, file in MODULES.items():
        sizes[room_of(name)] = sizes.get(room_of(name), 0) + code_lines(file.read_text("utf-8"))
    assert {room: size for room, size in sizes.items() if size > 2_200 and room != "twins"} == {}


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
