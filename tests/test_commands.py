"""One way in: every command has help, takes the same grammar, and answers what it cannot use in a sentence."""

import ast
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from credit_zoo import __main__ as face
from credit_zoo.cli.arguments import GROUPS, OPTIONS, RENAMED, parse
from credit_zoo.cli.command_line import CommandLine, guarded
from credit_zoo.cli.commands import MODULES, command_of
from credit_zoo.cli.setting_docs import settings_of_class
from credit_zoo.cli.settings import as_arguments, from_arguments
from credit_zoo.errors import UsageError

SIMPLE = sorted(set(MODULES) - {"run"})
SEEN = []


@dataclass(frozen=True)
class Walk:
    """A walk."""

    steps: int = 3  # of a metre
    back: bool = False
    places: tuple[str, ...] = ()
    name: str = "none"


def go(walk: Walk) -> int:
    SEEN.append(walk)
    return 0


@pytest.fixture
def walk():
    SEEN.clear()
    return CommandLine("walk", "Walks.", "test_commands:Walk", "test_commands:go", "places", (), {"paces": "steps"})


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_command_has_help_with_its_settings_types_and_examples(name, capsys):
    assert command_of(name)(["--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: python -m credit_zoo.{name}")
    assert f"python -m credit_zoo.{name}" in text.partition("examples")[2]
    assert max(map(len, text.splitlines())) <= 130


@pytest.mark.parametrize("name", SIMPLE)
def test_the_help_of_a_command_has_every_setting_that_its_class_has(name, capsys):
    command = command_of(name)
    module, _, cls = command.settings.partition(":")
    fields = getattr(importlib.import_module(module), cls).__dataclass_fields__
    command(["--help"])
    text = capsys.readouterr().out
    assert all(f"\n  {one}=" in text for one in fields)


@pytest.mark.parametrize("name", SIMPLE)
def test_a_word_that_no_command_knows_is_answered_with_the_list_and_2(name, capsys):
    assert command_of(name)(["nonsense_word=1"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("credit_zoo: no setting of") and "There are: " in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_command_tells_its_version(name, capsys):
    assert command_of(name)(["--version"]) == 0
    assert capsys.readouterr().out == "credit_zoo 0.2.0\n"


@pytest.mark.parametrize(
    ("words", "made"),
    [
        ([], Walk()),
        (["steps=5"], Walk(steps=5)),
        (["--steps", "5"], Walk(steps=5)),
        (["--steps=5"], Walk(steps=5)),
        (["--back"], Walk(back=True)),
        (["--back", "home"], Walk(back=True, places=("home",))),
        (["home", "steps=4", "away"], Walk(steps=4, places=("home", "away"))),
        (["a=b/home"], None),
        (["steps=5", "steps=6"], Walk(steps=6)),
        (["name=x=y"], Walk(name="x=y")),
        (["paces=7"], Walk(steps=7)),
    ],
)
def test_one_grammar_for_all(words, made, walk, capsys):
    assert walk(words) == (0 if made else 2)
    assert [made] == SEEN if made else not SEEN
    assert ("is called steps now" in capsys.readouterr().err) is (words == ["paces=7"])


def test_as_arguments_turns_from_arguments_round():
    for made in (Walk(), Walk(steps=9, back=True, places=("a", "b"), name="c d")):
        assert from_arguments(Walk, as_arguments(made)) == made
    assert as_arguments(Walk()) == ()


def test_settings_read_from_the_source_are_those_of_the_class():
    for target in GROUPS.values():
        module, _, cls = target.partition(":")
        fields = getattr(importlib.import_module(module), cls).__dataclass_fields__
        assert [one.name for one in settings_of_class(target)] == list(fields)


def test_comments_types_and_defaults_are_read_from_the_source():
    steps, back, places, name = settings_of_class("test_commands:Walk")
    assert (steps.kind, steps.default, steps.meaning) == ("a whole number", "3", "of a metre")
    assert (back.kind, back.default, places.kind) == ("true or false", "false", "a list, separated by commas")
    assert (name.kind, name.default) == ("text", "none")
    schedule = next(one for one in settings_of_class(GROUPS["train"]) if one.name == "shaper_schedule")
    assert (schedule.kind, schedule.default) == ("none | linear", "none")


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (UsageError("no"), 2, "credit_zoo: no"),
        (KeyboardInterrupt(), 130, "credit_zoo: stopped by Ctrl-C"),
        (
            PermissionError(13, "Permission denied", "/x"),
            1,
            "credit_zoo: /x cannot be written or read: Permission denied",
        ),
        (OSError(28, "No space left on device", "/x"), 1, "credit_zoo: /x cannot be written or read: No space left"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(raised, status, said, capsys):
    def command(words):
        raise raised

    assert guarded(command, []) == status
    assert capsys.readouterr().err.startswith(said)


def test_a_fault_of_our_own_is_not_hidden():
    def command(words):
        raise LookupError("ours")

    with pytest.raises(LookupError):
        guarded(command, [])


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_the_console_script_lists_the_commands(words, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["credit-zoo", *words])
    assert face.main() == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in MODULES)


def test_the_console_script_starts_a_command_and_names_the_nearest(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["credit-zoo", "show", "--version"])
    assert face.main() == 0
    monkeypatch.setattr(sys, "argv", ["credit-zoo", "shw"])
    assert face.main() == 2
    assert "Did you mean 'show'?" in capsys.readouterr().err


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_of_a_setting_goes_on_working_with_a_warning(old, new, capsys):
    value = {"base.max_refills": "2", "high_entropy.rescale": "true"}.get(old, "linear")
    now = {"high_entropy.rescale": "kept"}.get(old, value)
    assert parse([f"{old}={value}"]).settings == parse([f"{new}={now}"]).settings
    assert f"{old} is called {new} now" in capsys.readouterr().err


def test_of_several_words_for_one_thing_the_last_counts():
    assert parse(["shaper=pepo", "shaper=entropy", "train.lr=1", "steps=2", "train.steps=3", "train.lr=2"]).settings == (
        ("train", "lr", "2"), ("train", "steps", "3"),
    )  # fmt: skip
    assert parse(["shaper=pepo", "shaper=entropy"]).shaper == "entropy"


def test_every_option_of_a_run_is_used():
    fields = set(parse([]).__dataclass_fields__) | {"seed", "recipe", "steps", "rollout", "eval_steps", "view"}
    assert set(OPTIONS) <= fields


@pytest.mark.parametrize("name", ["pepo", "dapo", "mathvista", "train", "model"])
def test_everything_that_can_be_named_can_be_explained(name, capsys):
    assert command_of("run")([f"explain={name}"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_the_commands_stand_as_files_that_say_what_they_do():
    for name, module in MODULES.items():
        spec = importlib.util.find_spec(module)
        line = ast.get_docstring(ast.parse(Path(spec.origin).read_text())).split("\n")[0]
        assert line.endswith(".") and len(line) < 110, name


@pytest.mark.parametrize("target", [*GROUPS.values(), *(command_of(name).settings for name in SIMPLE)])
def test_every_setting_says_what_it_means(target):
    assert [one.name for one in settings_of_class(target) if not one.meaning] == []


def test_defaults_are_shown_as_they_are_typed():
    shown = {
        f"{group}.{one.name}": one.default for group, target in GROUPS.items() for one in settings_of_class(target)
    }
    assert (shown["model.logits_at_once"], shown["base.ratio"], shown["base.estimator"]) == ("4194304", "token", "grpo")
    assert not [name for name, default in shown.items() if "(" in default or "*" in default]


def test_a_setting_without_its_value_is_said(walk, capsys):
    assert walk(["--steps"]) == 2
    assert "'--steps' lacks its value" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_is_a_sentence(capsys):
    assert command_of("sheet")(["out=/no/such/folder/x.png"]) == 1
    assert "/no/such/folder/x.png cannot be written or read: No such file" in capsys.readouterr().err


def test_a_server_without_vllm_says_what_to_install(capsys):
    assert importlib.util.find_spec("vllm") is None
    assert command_of("vllm_server")([]) == 2
    assert "needs vllm in this environment" in capsys.readouterr().err
