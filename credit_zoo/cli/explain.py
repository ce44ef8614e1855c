"""What there is to say of a name: `explain=NAME` for shapers, bases and their pieces, benchmarks, views, settings."""

import inspect

from credit_zoo.cli.arguments import GROUPS, gin_files
from credit_zoo.cli.command_line import setting_lines
from credit_zoo.cli.setting_docs import about, settings_in_file, settings_of_class
from credit_zoo.registry import (
    BENCHMARKS,
    COMBINATIONS,
    PIECES,
    SHAPERS,
    VIEWS,
    BenchFacts,
    Entry,
    PieceFacts,
    ShaperFacts,
)
from credit_zoo.rule_names import canonical, heads_of


def explanation_of(name: str) -> str:
    """A shaper's equation and promises; a base's file; a piece's formula; a benchmark's source; the settings of each,
    or of a group. A base and its piece of one name are both explained.
    """
    if name in SHAPERS:
        return _shaper(canonical(name), SHAPERS[name])
    parts = [_piece(slot, registry[name]) for slot, registry in PIECES.items() if name in registry]
    if name in gin_files("base"):
        parts.insert(0, f"base {name}\n\n{gin_files('base')[name].read_text(encoding='utf-8').strip()}")
    if parts:
        return "\n\n".join(parts)
    if name in BENCHMARKS:
        return _benchmark(name, BENCHMARKS[name])
    if name in VIEWS:
        cls = VIEWS[name].factory
        settings = setting_lines(settings_of_class(f"{cls.__module__}:{cls.__name__}"), name)
        return "\n".join(_head(f"view {name}: {cls.__doc__}", settings))
    return "\n".join([f"{name}: {about(GROUPS[name])}", "", *setting_lines(settings_of_class(GROUPS[name]), name)])


def _shaper(name: str, entry: Entry[ShaperFacts]) -> str:
    facts = entry.facts
    promises = [f"scope: {facts.scope}", f"signals: {', '.join(facts.needs) or 'none'}"]
    promises += ["the mean over tokens is the response's advantage"] if facts.preserves_mean else []
    promises += ["no token's sign is turned"] if facts.preserves_sign else []
    if facts.reduces_to:
        changed = ", ".join(f"{name}.{key}={value}" for key, value in facts.reduces_to[1].items())
        promises.append(f"equals {facts.reduces_to[0]} at {changed or 'its defaults'}")
    promises += ["a control, never ranked as a method"] if facts.control else []
    settings = [line for head in heads_of(name) for line in _settings(head)]
    return "\n".join([*_head(entry.doc, settings), "Declared and tested", *(f"  {line}" for line in promises)])


def _settings(head: str) -> list[str]:
    """The lines of a rule's or a combination's own settings."""
    if head in COMBINATIONS:
        cls = COMBINATIONS[head].factory
        own = [one for one in settings_of_class(f"{cls.__module__}:{cls.__name__}") if one.name != "rules"]
        return setting_lines(own, head)
    return setting_lines(settings_in_file(SHAPERS[head].file), head)


def _piece(slot: str, entry: Entry[PieceFacts]) -> str:
    facts, cls = entry.facts, entry.factory
    settings = setting_lines(settings_of_class(f"{cls.__module__}:{cls.__name__}"), entry.name)
    lines = [f"scope: {facts.scope}", f"paper: {facts.paper}"]
    lines += [] if facts.keeps_token_credit else ["all tokens of a response are moved alike: with shaper=uniform alone"]
    lines += ["a response is clipped as a whole, by the signs of its tokens"] if facts.one_verdict else []
    head = _head(f"{slot} {entry.name}: base.{slot}={entry.name}\n\n{inspect.cleandoc(entry.doc)}", settings)
    return "\n".join([*head, "Declared", *(f"  {line}" for line in lines)])


def _benchmark(name: str, entry: Entry[BenchFacts]) -> str:
    facts = entry.facts
    lines = [
        f"version: {facts.version}",
        f"headline metric: {facts.headline}",
        f"trains on: {facts.trains_on or name}",
        f"source: {facts.source or 'none'}",
        f"licence: {facts.licence or 'none'}",
    ]
    settings = setting_lines(settings_in_file(entry.file), name)
    return "\n".join([*_head(entry.doc, settings), "Declared", *(f"  {line}" for line in lines)])


def _head(doc: str, settings: list[str]) -> list[str]:
    return [doc.strip(), "", "Settings", *(settings or ["  none"]), ""]
