"""The code that a number follows from: a digest of source files and of all that they import of ours.

Ours is this package and every module that is no installed library: a helper that lies beside a rule counts as the rule
does. Comments, docstrings and layout are left out, for they change no number, and so is `credit_zoo.registry`, which
gives names and checks ranges. What is imported by a name made at run time is not seen.
"""

import ast
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from credit_zoo import registry
from credit_zoo.results.provenance import digest

_PACKAGE = "credit_zoo"
_STANDARD = Path(sysconfig.get_path("stdlib")).resolve()


def code_digest(files: Iterable[Path], within_package: bool = True) -> str:
    """The digest of source files with what they import, transitively; equal on every machine for equal code.

    Without `within_package` modules of `credit_zoo` that they import are left out, as those have versions of their own.
    """
    queue, found = [file.resolve() for file in files], {Path(registry.__file__).resolve(): ""}
    while queue:
        file = queue.pop()
        if file not in found:
            tree = ast.parse(file.read_bytes(), str(file))
            found[file] = f"{file.stem} {_skeleton(tree)}"
            queue += [one.resolve() for one in _imported(file, tree, within_package)]
    return digest(sorted(found.values()))


def _skeleton(node: object) -> str:
    """A syntax tree as text, the same in every version of Python, without what stands for people alone."""
    if isinstance(node, ast.AST):
        parts = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
        return f"{type(node).__name__}({','.join(f'{name}={_skeleton(value)}' for name, value in parts)})"
    if isinstance(node, list):
        return f"[{','.join(_skeleton(one) for one in node if not _is_text(one))}]"
    return repr(node)


def _is_text(node: object) -> bool:
    """A statement that is a text and nothing else: a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imported(file: Path, tree: ast.Module, within_package: bool) -> Iterator[Path]:
    """The source files of ours that a module imports, at its top or inside a function."""
    found: list[tuple[str, Path | None]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, _module_file(alias.name, file)) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.module or "", _origin(node, alias.name, file)) for alias in node.names]
    for name, one in found:
        if one is not None and (within_package or name.partition(".")[0] != _PACKAGE):
            yield one


def _origin(node: ast.ImportFrom, name: str, file: Path) -> Path | None:
    """The file behind `from module import name`: a submodule, where a room's face takes the name from, the module."""
    if node.level:
        module = file.parents[node.level - 1].joinpath(*(node.module.split(".") if node.module else ()))
        inner, outer = _source_of(module / name), _source_of(module)
    else:
        inner, outer = _module_file(f"{node.module}.{name}", file), _module_file(str(node.module), file)
    if inner or outer is None:
        return inner
    stub = outer.with_suffix(".pyi")
    for face in ast.parse(stub.read_bytes()).body if stub.is_file() else ():
        if isinstance(face, ast.ImportFrom) and face.level and any(name == (a.asname or a.name) for a in face.names):
            return _origin(face, name, outer)
    return outer


def _module_file(name: str, user: Path) -> Path | None:
    """The source of a module of ours by its absolute name; None for libraries and for what is no module."""
    root = _root(name.partition(".")[0], user)
    return None if root is None else _source_of(root.joinpath(*name.split(".")))


def _root(top: str, user: Path) -> Path | None:
    """The folder that holds a package or module of ours, as a file that imports it sees it."""
    if top == _PACKAGE:
        return Path(registry.__file__).resolve().parents[1]
    packages = [one for one in user.parents if one.name == top and (one / "__init__.py").is_file()]
    if packages or _source_of(user.parent / top):
        return packages[0].parent if packages else user.parent
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.has_location or spec.origin is None or _installed(spec.origin):
        return None
    return Path(spec.origin).resolve().parents[1 if spec.submodule_search_locations else 0]


def _source_of(place: Path) -> Path | None:
    """The source of a module by its place without suffix."""
    return next((one for one in (place.with_suffix(".py"), place / "__init__.py") if one.is_file()), None)


def _installed(origin: str) -> bool:
    place = Path(origin).resolve()
    return place.is_relative_to(_STANDARD) or bool({"site-packages", "dist-packages"} & {*place.parts})
