"""The answer in words, from the numbers alone: which rules are told from `uniform` and from their own shuffle, where.

Told is what Holm's adjusted p below .05 tells, over the rules of one table, or of one measurement of the instrument.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pandas as pd

from credit_zoo.credit import CreditRecord, judged
from credit_zoo.leaderboard.instrument_words import instrument_above, instrument_besides
from credit_zoo.leaderboard.learning import WHILE_LEARNING
from credit_zoo.leaderboard.prediction import Prediction
from credit_zoo.leaderboard.sections import recorded_before, table_settings
from credit_zoo.leaderboard.wording import listed, many
from credit_zoo.results import REFERENCE, Difference, base_labels, distinct_labels, escape, kind

Tables: TypeAlias = Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]

TOLD_MEANS = "Holm's adjusted p below .05 over the rules of one table or measurement"
NOTHING = "Nothing is measured yet: neither training with three seeds beside `uniform`, nor the instrument."
UNCOMPARED = (
    "Nothing is compared yet: a rule needs three seeds beside those of one setting of `uniform` in the same training."
)


def answer(board: pd.DataFrame, credit: Sequence[CreditRecord], predicted: Sequence[Prediction] = ()) -> str:
    """The first screen's paragraph, and the details as a list."""
    lines = [short_answer(board, credit, predicted), *(f"- {one}" for one in details(board, credit, predicted))]
    return "\n".join(lines).rstrip("\n") + "\n"


def short_answer(board: pd.DataFrame, credit: Sequence[CreditRecord], predicted: Sequence[Prediction] = ()) -> str:
    """The first screen's paragraph."""
    return f"**The answer so far.** {' '.join(leading(board, credit, predicted))}\n"


def leading(board: pd.DataFrame, credit: Sequence[CreditRecord], predicted: Sequence[Prediction] = ()) -> list[str]:
    """What training, the instrument and both tell above `uniform`, whether the place of credit mattered, and whether
    one goes with the other.
    """
    tables, nothing = list(compared_tables(board)), UNCOMPARED if len(board) else NOTHING
    found = [_first(part, learning) for part, learning in _parts(tables)]
    found += [*_own_shuffles(tables), *instrument_above(credit), *_both(tables, credit), *_predicted(predicted)[:1]]
    return [*found, f"Told: {TOLD_MEANS}; brackets are plain 95% intervals."] if found else [nothing]


def details(board: pd.DataFrame, credit: Sequence[CreditRecord], predicted: Sequence[Prediction] = ()) -> list[str]:
    """A statement for each table, and for each thing that the instrument tells besides."""
    trained = [said for part, _ in _parts(list(compared_tables(board))) for said in _each(part)]
    return [*trained, *instrument_besides(credit), *_predicted(predicted)[1:]]


# --- training ----------------------------------------------------------------------------------------------------


def compared_tables(board: pd.DataFrame) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Where it was trained, measured and under which base, and the arms that are compared with `uniform` there.

    `place` says it in words, with the settings that tell tables of one place apart.
    """
    found = list(_compared(board))
    places = distinct_labels([_piece(where) for where, _ in found])
    for (where, arms), place in zip(found, places, strict=True):
        yield where | {"place": escape(place)}, arms


def _compared(board: pd.DataFrame) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    tables = list(board.groupby(["section", "measure"], sort=True)) if len(board) else []
    for (section, measure), arms in sorted(tables, key=lambda one: (json.loads(one[0][0])["identity"] is None, one[0])):
        bases = base_labels(arms["base"])
        for base, rows in arms.groupby("base", sort=True):
            found = [arm for arm in rows.to_dict("records") if arm["from_uniform"] is not None]
            names = distinct_labels([arm["shaper"] for arm in found])
            where = {"section": json.loads(section), "measure": json.loads(measure), "base": bases.get(base, "")}
            if any(not arm["control"] for arm in found):
                yield where, [arm | {"name": name} for arm, name in zip(found, names, strict=True)]


def _parts(tables: Tables) -> list[tuple[Tables, bool]]:
    """The tables of what was measured after training, then those of the accuracy while learning, if there are any."""
    parts = [([one for one in tables if _learning(one[0]) == learning], learning) for learning in (False, True)]
    return [(found, learning) for found, learning in parts if found]


def _learning(where: Mapping[str, Any]) -> bool:
    return bool(where["measure"]["metric"] == WHILE_LEARNING)


def _first(tables: Tables, learning: bool) -> str:
    """What all of them tell above `uniform`, most tables and seeds first, and where not."""
    rules: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for where, arms in tables:
        for arm in arms:
            if not arm["control"]:
                rules.setdefault(arm["name"], []).append((where, arm))
    pairs = [arm for found in rules.values() for _, arm in found]
    names = {arm["shaper"]["name"] for arm in pairs}
    size = (
        f"{many(len(names), 'rule')}, {many(len(pairs), 'comparison')} in {many(len(tables), 'table')}, "
        f"{_seeds(tables)}{_by_interval(tables)}"
    )
    when = "while learning" if learning else "after training"
    if not any(map(_told, pairs)):
        return f"**No rule is told from `{REFERENCE}` {when}** ({size})."
    above = {name: found for name, found in rules.items() if any(_told(arm) > 0 for _, arm in found)}
    order = sorted(above, key=lambda name: (*_strength(above[name]), name))
    best = [f"**{escape(name)}** ({_tables_told(above[name])})" for name in order]
    told = f"{listed(best)} {'is' if len(best) == 1 else 'are'}" if best else "no rule is"
    return f"{when.capitalize()}, {told} told above `{REFERENCE}` ({size})."


def _strength(found: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> tuple[int, int]:
    """What orders rules: tables that tell them above, then the seeds behind these."""
    above = [arm for _, arm in found if _told(arm) > 0]
    return -len(above), -sum(len(arm["difference"].seeds) for arm in above)


def _tables_told(found: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """In how many tables a rule is told above, and the benchmarks of which no table tells it."""
    above = [where["measure"]["bench"] for where, arm in found if _told(arm) > 0]
    others = sorted({where["measure"]["bench"] for where, _ in found} - set(above))
    nowhere = f"; not on {listed(others)}" if others else ""
    return f"in {len(above)} of {many(len(found), 'table')}{nowhere}"


def _own_shuffles(tables: Tables) -> list[str]:
    """In how many tables that tell a rule above `uniform` it is told above its own shuffle, where that was run."""
    looked: dict[str, list[bool]] = {}
    for _, arms in tables:
        for arm in arms:
            if _told(arm) > 0 and not arm["control"] and arm["from_shuffle"] is not None:
                looked.setdefault(arm["name"], []).append(arm["from_shuffle"].told > 0)
    if not looked:
        return []
    if not any(map(any, looked.values())):
        return ["None of these is told above its own shuffle: that the place of credit matters is not shown."]
    own = [
        f"{name} (in {sum(told)} of {many(len(told), 'table')})" for name, told in sorted(looked.items()) if any(told)
    ]
    return [f"Told above its own shuffle too: {escape(listed(own))}."]


def _each(tables: Tables) -> list[str]:
    """A statement for each that tells a rule, and of the others which they are and what their controls show."""
    told = [(where, arms) for where, arms in tables if any(_told(arm) and not arm["control"] for arm in arms)]
    quiet = [one for one in tables if one not in told]
    said = [_table(*one) for one in told]
    if told and quiet:
        places = listed([where["place"] for where, _ in quiet], 3)
        said.append(f"No rule is told from `{REFERENCE}` {places}.")
    return [*said, *_controls(quiet)]


def _seeds(tables: Tables) -> str:
    """How many seeds the comparisons rest on."""
    counts = {len(arm["difference"].seeds) for _, arms in tables for arm in arms if not arm["control"]}
    return f"{' to '.join(map(str, sorted({min(counts), max(counts)})))} paired seeds each"


def _told(arm: Mapping[str, Any]) -> int:
    found: Difference = arm["from_uniform"]
    return found.told


def _by_interval(tables: Tables) -> str:
    """What the plain intervals tell beside."""
    rules = [arm["from_uniform"] for _, arms in tables for arm in arms if not arm["control"] and not _told(arm)]
    above, below = (sum(one.plain == sign for one in rules) for sign in (1, -1))
    return f"; by the plain interval alone {above} more above and {below} below" if above or below else ""


def _piece(where: Mapping[str, Any]) -> dict[str, Any]:
    """The place of a table as a piece for `distinct_labels`."""
    section, measure = where["section"], where["measure"]
    source, name = section["source"], f"{measure['bench']} ({kind(measure)})"
    same = (source["bench"], kind(source)) == (measure["bench"], kind(measure))
    on = name if same else f"{source['bench']} ({kind(source)})"
    told = (
        f"{'during' if _learning(where) else 'after'} {section['steps']} steps on {on}{'' if same else f', on {name},'}"
    )
    place = f"{told} from `{section['model']['name']}` under {where['base']}{recorded_before(section)}"
    return {"name": place, "settings": table_settings(section, measure)}


def _table(where: Mapping[str, Any], arms: Sequence[Mapping[str, Any]]) -> str:
    """What one table tells."""
    rules = [arm for arm in arms if not arm["control"]]
    above, below = ([arm for arm in rules if _told(arm) == sign] for sign in (1, -1))
    said = [f"above `{REFERENCE}`: {listed([_points(arm, own=True) for arm in above])}"] if above else []
    said += [f"below `{REFERENCE}`: {listed([_points(arm) for arm in below])}"] if below else []
    controls = [_points(arm) for arm in arms if arm["control"] and _told(arm)]
    said += [f"of the controls: {listed(controls)}"] if controls else []
    text = where["place"]
    return f"{text[0].upper()}{text[1:]} (of {many(len(rules), 'rule')}), {'; '.join(said)}."


def _points(arm: Mapping[str, Any], own: bool = False) -> str:
    found: Difference = arm["from_uniform"]
    seeds = len(arm["difference"].seeds)
    numbers = f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}], {seeds} seeds"
    return escape(f"{arm['name']} ({numbers}{_own_shuffle(arm) if own else ''})")


def _own_shuffle(arm: Mapping[str, Any]) -> str:
    found: Difference | None = arm["from_shuffle"]
    if found is None:
        return ", own shuffle not run"
    return f", {'told' if found.told > 0 else 'not told'} from its own shuffle"


def _controls(tables: Tables) -> list[str]:
    """Controls that are told where no rule is: what the laboratory could see."""
    found = [
        f"{listed([_points(arm) for arm in arms if arm['control'] and _told(arm)])} {where['place']}"
        for where, arms in tables
        if any(arm["control"] and _told(arm) for arm in arms)
    ]
    return [f"Controls are told there: {listed(found, 3)}."] if found else []


# --- both ---------------------------------------------------------------------------------------------------------


def _predicted(predicted: Sequence[Prediction]) -> list[str]:
    """A statement for each measurement; that of most rules leads, whatever it says."""
    return [_predicts(one) for one in sorted(predicted, key=lambda one: -len(one.pairs))]


def _predicts(one: Prediction) -> str:
    """Whether what was measured before training goes with what was gained in it."""
    controls = " and controls" if any(pair.control for pair in one.pairs) else ""
    how = f"rank correlation {one.rank:.2f} [{one.low:.2f}, {one.high:.2f}] over {len(one.pairs)} rules{controls}"
    does = "goes with" if one.low > 0 else "is not shown to go with"
    return f"Efficiency before training {does} the gain in training (`{one.title}`: {how})."


def _both(tables: Tables, credit: Sequence[CreditRecord]) -> list[str]:
    """Rules that both tell above `uniform`, from the same weights on the same set; nothing where only one looked."""
    found: dict[str, None] = {}
    looked = False
    for record in credit:
        verdicts = judged(record)
        for where, arms in tables:
            section, measure = where["section"], where["measure"]
            if section["model"]["revision"] == record.weights and measure["bench"] == record.bench:
                looked = True
                by_both = [arm for arm in arms if _told(arm) > 0 and not arm["control"]]
                names = [arm["shaper"]["name"] for arm in by_both]
                found |= {name: None for name in names if name in verdicts and verdicts[name].uniform.told > 0}
    if not looked:
        return []
    return [
        f"Told above it by training and by the instrument, from the same weights: {listed(list(found)) or 'no rule'}."
    ]
