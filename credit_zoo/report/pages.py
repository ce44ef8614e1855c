"""The pages, from what was recorded and the templates beside this file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

from credit_zoo import __version__
from credit_zoo.credit import draw as draw_forest
from credit_zoo.errors import UsageError
from credit_zoo.lab import (
    DOWN,
    DOWN_DARK,
    MOST,
    POWER,
    UP,
    UP_DARK,
    credit_table,
    gates_table,
    mistakes_table,
    temperature_table,
)
from credit_zoo.leaderboard import details, instrument_summary, leading, panels, predictions, rule_costs
from credit_zoo.leaderboard import draw as draw_curves
from credit_zoo.registry import SHAPERS
from credit_zoo.report import board, runs
from credit_zoo.report.charts import chart, draw_profile, draw_run, has_curve
from credit_zoo.report.examples import KINDS, Examples, Profile
from credit_zoo.report.rule_facts import RuleFacts, page_of, rule_facts
from credit_zoo.report.sources import Sources
from credit_zoo.report.tables import Row, Table, from_markdown, heat, number, unescaped, words
from credit_zoo.report.viewer import TRUTH, key_of, rules_of, viewer_data
from credit_zoo.results import REFERENCE, RunRecord
from credit_zoo.sampled_signals import passes_beside_sampling
from credit_zoo.speed import plots

TEMPLATES = Path(__file__).parent / "templates"
MENU = {
    "index.html": "Board",
    "rules.html": "Rules",
    "credit.html": "Credit viewer",
    "weights.html": "Weights",
    "laboratory.html": "Laboratory",
    "runs.html": "Runs",
}
COLORS = {"up": UP, "down": DOWN, "up_dark": UP_DARK, "down_dark": DOWN_DARK, "most": MOST, "power": POWER}
RULES = ("rule", "what it does", "paper", "signals", "extra passes", "scope", "kind")


def prose(text: str) -> str:
    """Plain text with `code`, **strong** and *marked* words as a page shows it, everything else escaped."""
    from markupsafe import Markup, escape

    found = str(escape(text))
    for mark, tag in (
        (r"`([^`]+)`", "code"),
        (r"\*\*([^*]+)\*\*", "strong"),
        (r"(?<![\w*])\*([^*\s][^*]*)\*(?!\w)", "em"),
    ):
        found = re.sub(mark, rf"<{tag}>\1</{tag}>", found)
    return Markup(found)


def environment() -> Any:
    """The templates; everything that is put into them is escaped."""
    try:
        import jinja2
        from markupsafe import Markup
    except ModuleNotFoundError:
        raise UsageError("the pages are made by jinja2: pip install 'credit_zoo[report]'") from None
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"menu": MENU, "version": __version__, "colors": COLORS, "key_of": key_of}
    made.filters["svg"] = Markup  # what `chart` has made
    made.filters["prose"] = prose
    made.filters["unescaped"] = unescaped
    made.filters["decimals"] = lambda value, digits: f"{round(value, digits) + 0.0:.{digits}f}"  # no minus before a 0
    return made


@dataclass(frozen=True)
class Pages:
    """The report of some records and kept answers; `folder` is that of runs whose answers may still be there."""

    sources: Sources
    examples: tuple[Examples, ...]
    folder: Path

    def all(self) -> Mapping[str, str]:
        """Every page by its path."""
        made = {"index.html": self._board(), "rules.html": self._rules(), "runs.html": self._runs()}
        made |= {"credit.html": self._credit(), "weights.html": self._weights(), "laboratory.html": self._laboratory()}
        made |= {page_of(rule.name): self._rule(rule) for rule in self.rules}
        return made | {runs.page_of(record): self._run(record) for record in self.sources.runs}

    @cached_property
    def _environment(self) -> Any:
        return environment()

    @cached_property
    def rules(self) -> tuple[RuleFacts, ...]:
        """The rules that have a page, controls last."""
        found = [rule_facts(name) for name in SHAPERS]
        return tuple(sorted(found, key=lambda rule: (rule.control, rule.name)))

    @cached_property
    def links(self) -> Mapping[str, str]:
        """The pages of rules by their names."""
        return {rule.name: page_of(rule.name) for rule in self.rules}

    def _page(self, path: str, template: str, title: str, **told: Any) -> str:
        root = "../" * path.count("/")
        return str(self._environment.get_template(template).render(path=path, root=root, title=title, **told))

    def _board(self) -> str:
        sources = self.sources
        trained = [run for run in sources.runs if run.training]
        charts = []
        for place, record in enumerate(one for one in sources.credit if one.sees):
            title = f"Efficiency of every rule times uniform's with its 95% interval: {record.title}"
            charts.append(chart(f"forest-{place}", title, partial(draw_forest, [record])))
        curves, cost = [], ""
        for name, what, by_cost in (("curves", "steps", False), ("curves-cost", "cost", True)):
            if shown := panels(trained, cost=by_cost):
                told = f"Training accuracy by {what}, with bands over seeds"
                curves.append((f"By {what}", chart(name, told, partial(draw_curves, shown, cost=by_cost))))
        found = sources.arms, sources.credit, predictions(sources.credit, sources.runs)
        if sources.speed:
            cost = chart("cost", "What a training step costs", partial(plots.draw, sources.speed))
        return self._page(
            "index.html",
            "board.html",
            "Board",
            answers=leading(*found),
            details=details(*found),
            summary=from_markdown("summary", "The instrument: a row a rule", instrument_summary(sources.credit)),
            charts=charts,
            curves=curves,
            cost=cost,
            instrument=board.instrument_table(sources.credit, self.links),
            training=board.training_table(sources.arms, self.links),
            costs=from_markdown("costs", "What a rule costs", rule_costs(sources.credit, sources.speed)),
            problems=sources.problems,
        )

    def _rules(self) -> str:
        rows = []
        for rule in self.rules:
            facts = SHAPERS[rule.name].facts
            cells = (
                words(rule.name, self.links[rule.name]),
                words(rule.summary),
                words(rule.paper),
                words(", ".join(facts.needs)),
                number(passes_beside_sampling(facts), 0),
                words(facts.scope),
                words("control" if rule.control else "rule"),
            )
            rows.append(Row(cells, {"kind": cells[-1].text, "scope": facts.scope}))
        table = Table("rules", "The zoo", RULES, tuple(rows), {}, ("kind", "scope"))
        return self._page("rules.html", "list.html", "Rules", table=table, about="Every rule and control there is.")

    def _rule(self, rule: RuleFacts) -> str:
        sources, shuffle = self.sources, board.SHUFFLE.format(rule.name)
        names = [name for name in (rule.name, shuffle, REFERENCE) if name in rules_of(self.examples)]
        profiles = {
            one.model: self._profile_chart(rule.name, one) for one in self.examples if rule.name in one.profiles
        }
        mine = [run for run in sources.runs if run.shaper and run.shaper.name == rule.name]
        right = shuffle if shuffle in names else TRUTH
        return self._page(
            page_of(rule.name),
            "rule.html",
            rule.name,
            rule=rule,
            instrument=board.instrument_table(sources.credit, self.links, (rule.name, shuffle)),
            training=board.training_table(self._arms(rule.name, shuffle), self.links),
            runs=[(runs.page_of(run), runs.title_of(run)) for run in mine],
            profiles=profiles,
            **self._viewer(names, rule.name, right, 1),
        )

    def _arms(self, name: str, shuffle: str) -> pd.DataFrame:
        """The rows of a rule and of its shuffle, under today's name and that of version 0.2."""
        names, found = {name, shuffle, f"permuted_{name}"}, self.sources.arms
        return found[[bool(one) and one["name"] in names for one in found["shaper"]]] if len(found) else found

    def _profile_chart(self, name: str, one: Examples) -> str:
        shuffle: Profile | None = one.profiles.get(board.SHUFFLE.format(name))
        title = f"Weights of {name} by relative position and by the kind of token, answers of {one.model}"
        return chart(f"weights-{one.model}", title, partial(draw_profile, one.profiles[name], shuffle))

    def _viewer(self, names: list[str], left: str, right: str, questions: int | None = None) -> dict[str, Any]:
        """What the viewer's macro wants: of each policy so many questions, all of them without a number."""
        if not names or left not in names:
            return {"examples": (), "names": (), "left": "", "right": "", "data": {}, "questions": 0}
        data = viewer_data(self.examples, names)
        return {
            "examples": self.examples,
            "names": (*names, TRUTH),
            "left": left,
            "right": right,
            "data": data,
            "questions": questions,
        }

    def _credit(self) -> str:
        names = rules_of(self.examples)
        left, right = ([one for one in ("siblings", "pepo", *names) if one in names] * 2)[:2] if names else ("", "")
        return self._page("credit.html", "credit.html", "Credit viewer", **self._viewer(names, left, right))

    def _weights(self) -> str:
        parts = []
        for one in self.examples:
            names = one.compared
            position = heat([f"{10 * at}%" for at in range(10)], ((name, one.profiles[name].mean) for name in names), 1)
            kinds = heat(KINDS, ((name, [one.profiles[name].kinds[kind] for kind in KINDS]) for name in names), 1)
            agreement = heat(names, zip(names, one.agreement, strict=True), 0)
            parts.append((one, position, kinds, agreement))
        return self._page("weights.html", "weights.html", "Weights", parts=parts, links=self.links)

    def _laboratory(self) -> str:
        sources = self.sources
        told = (
            ("gates", "Gates: whether reward and credit matter in this laboratory", gates_table(sources.gates)),
            ("temperatures", "Accuracy by temperature alone, in percent", temperature_table(sources.probes)),
            ("mistakes", "What goes wrong, in percent", mistakes_table(sources.probes)),
            ("separations", "What tells tokens apart: area under the ROC curve", credit_table(sources.probes)),
        )
        tables = [from_markdown(*one) for one in told]
        return self._page("laboratory.html", "tables.html", "Laboratory", tables=[one for one in tables if one])

    def _runs(self) -> str:
        table = runs.runs_table(self.sources.runs, self.links)
        about = "Every recorded run, and how to repeat it."
        return self._page("runs.html", "list.html", "Runs", table=table, about=about)

    def _run(self, record: RunRecord) -> str:
        training = record.training
        curve = ""
        if training is not None and has_curve(training):
            curve = chart("curve", f"Training of {runs.title_of(record)} by steps", partial(draw_run, training))
        return self._page(
            runs.page_of(record),
            "run.html",
            runs.title_of(record),
            record=record,
            facts=runs.facts_of(record),
            weights=runs.weights_of(record),
            curve=curve,
            command=runs.command_of(record),
            measured=runs.evaluations_table(record),
            rule_page=self.links.get(record.shaper.name if record.shaper else ""),
            answers=list(runs.kept_answers(record, self.folder)),
        )
