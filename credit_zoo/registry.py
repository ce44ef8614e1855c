"""Names to implementations: one registry for shapers, benchmarks and the pieces that bases are made of.

A registered class stands in a file of the registry's package (file name = name, the folder is scanned), in the
registry's one module (pieces of a line or two), in a file named by `plugins=`, or behind an entry point.
Names, one-line summaries and facts are read from the source with `ast`, so listing imports nothing but this.
"""

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

import gin

from credit_zoo.errors import UsageError as UsageError
from credit_zoo.errors import check_range as check_range
from credit_zoo.errors import unknown as unknown
from credit_zoo.facts import BenchFacts as BenchFacts
from credit_zoo.facts import CombinationFacts as CombinationFacts
from credit_zoo.facts import PieceFacts as PieceFacts
from credit_zoo.facts import ShaperFacts as ShaperFacts
from credit_zoo.rule_names import canonical, gin_name, heads_of, parts_of

_BESIDE = Path(__file__).parent / "configs"  # in an installed package; in a checkout they stand at the root
CONFIGS = _BESIDE if _BESIDE.exists() else Path(__file__).parent.parent / "configs"

F = TypeVar("F")
C = TypeVar("C", bound=type)


@dataclass(frozen=True)
class Entry(Generic[F]):
    """One registered class with its facts and the file it stands in."""

    name: str
    factory: type
    facts: F
    file: Path
    parts: tuple["Entry[F]", ...] = ()  # of a combination

    @property
    def files(self) -> tuple[Path, ...]:
        """The sources of the class and of its parts."""
        return (self.file, *(file for part in self.parts for file in part.files))

    @property
    def doc(self) -> str:
        """The module's docstring, or the class's own where a module holds several."""
        module = sys.modules[self.factory.__module__]
        return (module.__doc__ if module.__name__.endswith(self.name) else self.factory.__doc__) or ""


@dataclass(frozen=True)
class Listing:
    """What the source says of a registered class, read without importing it."""

    name: str
    summary: str
    paper: str
    file: Path | None
    trains_on: str = field(default="", kw_only=True)
    control: bool = field(default=False, kw_only=True)
    load: Callable[[], object]


def _first_line(node: ast.AST) -> str:
    doc = ast.get_docstring(node) if isinstance(node, (ast.Module, ast.ClassDef)) else None
    return (doc or "").split("\n")[0]


def _text(node: ast.expr | None) -> str:
    return str(ast.literal_eval(node)) if isinstance(node, ast.Constant) else ""


@dataclass(eq=False)
class Registry(Generic[F]):
    """`@REGISTRY.register("name", fact=...)` on a frozen dataclass makes `registry["name"]` an `Entry`.

    `variable` is what source files call the registry; `package` is scanned, or `module` holds all entries.
    """

    kind: str
    variable: str
    facts: Callable[..., F]
    package: str | None = None
    module: str | None = None
    entry_points: str | None = None
    own_name: str | None = None  # the fact that is an entry's own name unless it is told
    _entries: dict[str, Entry[F]] = field(default_factory=dict)
    _plugins: list[Path] = field(default_factory=list)
    _scanned: dict[Path, tuple[tuple[int, int], tuple[Listing, ...]]] = field(default_factory=dict)

    def register(self, name: str, **facts: Any) -> Callable[[C], C]:
        """Decorator: enters the class under `name` and makes its fields settings that a config can bind."""

        def enter(cls: C) -> C:
            file = Path(sys.modules[cls.__module__].__file__ or "?")
            if name in self._entries and self._entries[name].file != file:
                raise self._duplicate(name, self._entries[name].file, file)
            self._refuse_unset(name, cls)
            self._refuse_unknown_facts(name, facts)
            if name not in self._entries:
                gin.register(name, module=self.kind)(cls)
            own = {self.own_name: name} if self.own_name else {}
            self._entries[name] = Entry(name, cls, self.facts(**{**own, **facts}), file)
            if self.facts is ShaperFacts:
                cls.needs = tuple(facts.get("needs", ()))  # type: ignore[attr-defined]  # what its user has to measure
            return cls

        return enter

    def _refuse_unknown_facts(self, name: str, facts: Mapping[str, Any]) -> None:
        known = [one.name for one in fields(self.facts)] if isinstance(self.facts, type) else []
        for fact in facts:
            if known and fact not in known:
                raise unknown(f"fact of the {self.kind} '{name}'", fact, known)

    def _refuse_unset(self, name: str, cls: type) -> None:
        """Every setting has a default, or a run could not be made from names alone."""
        if not is_dataclass(cls):
            raise UsageError(
                f"{self.kind} '{name}' must be a frozen dataclass: put @dataclass(frozen=True) below register"
            )
        for one in fields(cls):
            if one.default is MISSING and one.default_factory is MISSING:
                raise UsageError(f"setting {name}.{one.name} has no default: every setting of a {self.kind} has one")

    def __getitem__(self, name: str) -> Entry[F]:
        if name in self._entries:
            return self._entries[name]
        if name not in (listings := self.listings()):
            raise unknown(self.kind, name, listings)
        listings[name].load()
        if name not in self._entries:
            file = listings[name].file
            raise UsageError(f"{file} does not register the {self.kind} '{name}': file name and name must agree")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.listings()))

    def __contains__(self, name: object) -> bool:
        return name in self.listings()

    def of(self, instance: object) -> Entry[F]:
        """The entry that `instance` was made from."""
        for entry in self._entries.values():
            if type(instance) is entry.factory:
                return entry
        raise UsageError(f"{type(instance).__name__} is not a registered {self.kind}")

    def add_plugin(self, path: Path) -> None:
        """Adds a file, or every file of a folder, outside the package."""
        if not path.exists():
            raise UsageError(f"plugins={path} does not exist")
        files = sorted(path.glob("*.py")) if path.is_dir() else [path]
        self._plugins += [file for file in files if file not in self._plugins]
        self.listings()  # a name that is taken is refused here, not when it is first used

    def listings(self) -> dict[str, Listing]:
        """Every name with its summary, from the sources; two files of one name are refused."""
        found: dict[str, Listing] = {}
        for listing in (*self._own(), *self._from_plugins(), *self._from_entry_points()):
            first = found.setdefault(listing.name, listing)
            if first.file != listing.file:
                raise self._duplicate(listing.name, first.file, listing.file)
        return found

    def _duplicate(self, name: str, first: Path | None, second: Path | None) -> UsageError:
        return UsageError(f"two {self.kind}s are named '{name}': {first} and {second}. Rename one of them.")

    def _own(self) -> Iterator[Listing]:
        if self.module is not None:
            spec = importlib.util.find_spec(self.module)
            assert spec is not None and spec.origin is not None
            yield from self._scan(Path(spec.origin), partial(importlib.import_module, self.module))
        elif self.package is not None:
            spec = importlib.util.find_spec(self.package)
            for folder in spec.submodule_search_locations or () if spec else ():
                for file in sorted(Path(folder).glob("*.py")):
                    if not file.stem.startswith("_"):
                        yield from self._scan(file, partial(importlib.import_module, f"{self.package}.{file.stem}"))

    def _from_plugins(self) -> Iterator[Listing]:
        for file in self._plugins:
            yield from self._scan(file, partial(import_file, file))

    def _from_entry_points(self) -> Iterator[Listing]:
        for point in _entry_points(self.entry_points, tuple(sys.path)) if self.entry_points else ():
            where = f"entry point {point.value}"
            yield Listing(point.name, f"({where})", "", Path(where), point.load)

    def _scan(self, file: Path, load: Callable[[], object]) -> tuple[Listing, ...]:
        """The classes of a source file that carry this registry's decorator; read again only when it has changed."""
        state = file.stat().st_mtime_ns, file.stat().st_size
        if self._scanned.get(file, (None,))[0] != state:
            self._scanned[file] = state, tuple(self._read(file, load))
        return self._scanned[file][1]

    def _read(self, file: Path, load: Callable[[], object]) -> Iterator[Listing]:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
        except (SyntaxError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} is not Python: {error}") from error
        for node in tree.body:
            for call in node.decorator_list if isinstance(node, ast.ClassDef) else ():
                if not (isinstance(call, ast.Call) and ast.unparse(call.func) == f"{self.variable}.register"):
                    continue
                name = ast.literal_eval(call.args[0])
                if self.package is not None and name != file.stem:
                    raise UsageError(f"{file} registers '{name}': a {self.kind}'s name is its file's name")
                facts = {word.arg: word.value for word in call.keywords}
                yield Listing(
                    name=name,
                    summary=_first_line(tree if self.package else node),
                    paper=_text(facts.get("paper", facts.get("source"))),
                    trains_on=_text(facts.get("trains_on")),
                    control=_text(facts.get("control")) == "True",
                    file=file,
                    load=load,
                )


@lru_cache(maxsize=16)
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[metadata.EntryPoint, ...]:
    """The entry points of what is installed on this path, which takes a while to look through."""
    return tuple(metadata.entry_points(group=group))


def import_file(path: Path) -> ModuleType:
    """Imports a Python file that is not part of a package, under a name that no other file has."""
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"credit_zoo_plugin_{place}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except UsageError:
        del sys.modules[name]
        raise
    except Exception as error:  # whatever its author's code raises
        del sys.modules[name]
        raise UsageError(f"{path} could not be imported: {type(error).__name__}: {error}") from error
    return module


class ShaperRegistry(Registry[ShaperFacts]):
    """The rules, and beside them every combination of rules by its name, such as `permuted(pepo)`."""

    def __getitem__(self, name: str) -> Entry[ShaperFacts]:
        name = canonical(name)
        if name not in self._entries and parts_of(name)[1]:
            combined = importlib.import_module("credit_zoo.shapers._combinations")
            entry = self._entries[name] = combined.combination(name)
            gin.register(gin_name(name), module=self.kind)(entry.factory)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        head, parts = parts_of(canonical(name))
        return head in COMBINATIONS and all(part in self for part in parts) if parts else super().__contains__(head)

    def is_control(self, name: str) -> bool:
        """Whether a rule is a null or an oracle, by the sources; False for a name that is not there any more."""
        listings = {**self.listings(), **COMBINATIONS.listings()}
        return any(head in listings and listings[head].control for head in heads_of(canonical(name)))


SHAPERS = ShaperRegistry(
    "shaper", "SHAPERS", ShaperFacts, package="credit_zoo.shapers", entry_points="credit_zoo.shapers"
)
COMBINATIONS = Registry[CombinationFacts](
    "combination", "COMBINATIONS", CombinationFacts, module="credit_zoo.shapers._combinations"
)
_BENCHES = "credit_zoo.benchmarks"
BENCHMARKS = Registry[BenchFacts](
    "bench", "BENCHMARKS", BenchFacts, package=_BENCHES, entry_points=_BENCHES, own_name="trains_on"
)
ESTIMATORS = Registry[PieceFacts]("estimator", "ESTIMATORS", PieceFacts, module="credit_zoo.objective.advantages")
RATIOS = Registry[PieceFacts]("ratio", "RATIOS", PieceFacts, module="credit_zoo.objective.ratios")
LOSSES = Registry[PieceFacts]("loss", "LOSSES", PieceFacts, module="credit_zoo.objective.policy_losses")
AGGREGATIONS = Registry[PieceFacts]("aggregation", "AGGREGATIONS", PieceFacts, module="credit_zoo.objective.losses")
VIEWS = Registry[PieceFacts]("view", "VIEWS", PieceFacts, module="credit_zoo.policy.views")
# The slots of a base and where their pieces are registered.
PIECES: Mapping[str, Registry[PieceFacts]] = {
    "estimator": ESTIMATORS, "ratio": RATIOS, "loss": LOSSES, "aggregation": AGGREGATIONS
}  # fmt: skip
