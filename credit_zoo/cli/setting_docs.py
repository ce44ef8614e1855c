"""The settings of a class as its source tells them, without importing it: name, type, default, and what it means.

A group of settings is a frozen dataclass. What stands behind a field as a comment says what it means, with its unit.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PLAIN = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "None": "none"}


@dataclass(frozen=True)
class Setting:
    """One setting as `--help` shows it."""

    name: str
    kind: str
    default: str
    meaning: str


@cache
def settings_of_class(target: str) -> tuple[Setting, ...]:
    """The settings of a dataclass `package.module:Class`, those of its base classes first."""
    module, _, name = target.partition(":")
    return _settings(_file(module), name)


def settings_in_file(file: Path) -> tuple[Setting, ...]:
    """The settings of the one registered class of a file, a shaper's or a benchmark's."""
    for node in _tree(file).body:
        if isinstance(node, ast.ClassDef) and any("register" in ast.unparse(one) for one in node.decorator_list):
            return _settings(file, node.name)
    return ()


def about(target: str) -> str:
    """The first paragraph of the class's docstring."""
    module, _, name = target.partition(":")
    _, node = _class(_file(module), name)
    return " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())


def _settings(file: Path, name: str) -> tuple[Setting, ...]:
    file, node = _class(file, name)
    lines = file.read_text(encoding="utf-8").splitlines()
    found: dict[str, Setting] = {}
    for base in node.bases:
        if isinstance(base, ast.Name):
            found |= {setting.name: setting for setting in _settings(file, base.id)}
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value is not None:
            comment = re.search(r"#\s*(.*)$", lines[(field.end_lineno or field.lineno) - 1][field.end_col_offset :])
            found[field.target.id] = Setting(
                field.target.id,
                _kind(file, field.annotation),
                _default(file, field.value),
                comment[1] if comment else "",
            )
    return tuple(found.values())


def _default(file: Path, value: ast.expr) -> str:
    """A default as one types it: constants are followed to where they are defined, products and powers worked out."""
    if isinstance(value, ast.Constant):
        given = value.value
        return str(given).lower() if given is None or isinstance(given, bool) else str(given)
    if isinstance(value, ast.Name):
        found = next((_default(where, node.value) for where, node in _assigned(file, value.id)), value.id)
        return found if len(found) <= 24 else "..."
    if isinstance(value, ast.BinOp) and isinstance(value.op, (ast.Pow, ast.Mult)):
        left, right = (int(ast.literal_eval(side)) for side in (value.left, value.right))
        return str(left**right if isinstance(value.op, ast.Pow) else left * right)
    factory = re.fullmatch(r"field\(default_factory=(\w+)\)", ast.unparse(value))
    return _registered(file, factory[1]) if factory else ast.unparse(value)


def _registered(file: Path, name: str) -> str:
    """The name that a piece of a base is registered under; the class's own without one."""
    for call in _class(file, name)[1].decorator_list:
        if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
            return str(call.args[0].value)
    return name


def _kind(file: Path, annotation: ast.expr) -> str:
    """A type in words: `a whole number`, `linear or none`; an alias is followed to where it is defined."""
    if isinstance(annotation, ast.Constant):
        return "none" if annotation.value is None else str(annotation.value)
    if isinstance(annotation, ast.BinOp):
        return f"{_kind(file, annotation.left)} or {_kind(file, annotation.right)}"
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal":
        inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return " | ".join(str(ast.literal_eval(one)) for one in inner)
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "tuple":
        return "a list, separated by commas"
    name = ast.unparse(annotation)
    if name in _PLAIN:
        return _PLAIN[name]
    return next((_kind(where, node.value) for where, node in _assigned(file, name)), name)


def _class(file: Path, name: str) -> tuple[Path, ast.ClassDef]:
    for where, node in _definitions(file, name):
        if isinstance(node, ast.ClassDef):
            return where, node
    raise LookupError(f"{file} has no class {name}")


def _assigned(file: Path, name: str) -> Iterator[tuple[Path, ast.Assign]]:
    for where, node in _definitions(file, name):
        if isinstance(node, ast.Assign):
            yield where, node


def _definitions(file: Path, name: str) -> Iterator[tuple[Path, ast.stmt]]:
    """Where a name of a file is defined: in it, or in the file of the package that it is imported from."""
    for node in _tree(file).body:
        if isinstance(node, ast.ClassDef):
            found = node.name == name
        elif isinstance(node, ast.Assign):
            found = any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        else:
            found = False
        if found:
            yield file, node
        elif isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            module = node.module or ""
            if node.level:  # a room's face: the stub beside it says where its names come from
                yield from _definitions(file.parent / f"{module}.py", name)
            elif module.startswith("credit_zoo"):
                yield from _definitions(_file(module), name)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _file(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, f"{module} is no module"
    stub = Path(spec.origin).with_suffix(".pyi")
    return stub if stub.exists() else Path(spec.origin)
