"""Model cards: one per candidate, with the sections that Mitchell et al. 2019 ask for, in sentences and tables.

Everything comes from the catalog (card_facts.py); what it cannot know is said to be unknown, never guessed.
Mitchell et al., Model Cards for Model Reporting, FAT* 2019, https://arxiv.org/abs/1810.03993.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from counterfoil import canonical
from counterfoil.files import write_durably
from counterfoil.types import Decision, Verdict
from flows.place import Place
from flows.report.turn import path_of
from flows.standards.card_facts import Facts, Mean, Reader, gather

UNKNOWN = "not known: nobody has told the catalog"


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of a card: paragraphs, then named values, then a table, then points."""

    title: str
    text: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    points: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One candidate's card. `leads` are the slices' differences from the mean: name, difference, low, high."""

    candidate: str
    title: str
    opening: str
    sections: tuple[Section, ...]
    leads: tuple[tuple[str, float, float, float], ...] = ()
    primary: str = ""


def card(place: Place, candidate_id: str, reader: Reader | None = None) -> Card:
    """Return a candidate's card. UnknownError when there is no such candidate, InputError when it is another noun."""
    facts = gather(reader or Reader(place=place), candidate_id)
    sections = (
        _details(facts),
        _use(facts),
        _factors(facts),
        _metrics(facts),
        _evaluation_data(facts),
        _training_data(facts),
        _results(facts),
        _decisions(facts),
        _service(facts),
        _cost(facts),
        _ethics(facts),
        _limits(facts),
        _reproduction(facts),
        _record(facts),
    )
    return Card(
        candidate=candidate_id,
        title=f"{facts.candidate.family} for {facts.candidate.use_case}, {facts.dataset.as_of.date()}",
        opening=_opening(facts),
        sections=sections,
        leads=_leads(facts),
        primary=facts.primary,
    )


def write_all(place: Place, decision: Decision) -> list[Path]:
    """Write the cards of all that a decision weighed beside its page, as HTML and as Markdown; returns the files."""
    from flows.standards.card_page import html, markdown

    evaluations: list[Any] = [place.catalog.get(name) for name in decision.evaluations]
    weighed = dict.fromkeys([*(one.candidate for one in evaluations), decision.champion])
    written, reader = [], Reader(place=place)
    for name in weighed:
        if name is None:
            continue
        made = card(place, name, reader)
        for suffix, text in ((".html", html(made)), (".md", markdown(made))):
            path = folder_of(place, decision) / f"{name}{suffix}"
            write_durably(path, text.encode())
            written.append(path)
    return written


def folder_of(place: Place, decision: Decision) -> Path:
    """Return where the cards of a decision lie."""
    return path_of(place, decision).parent / "cards"


def _opening(facts: Facts) -> str:
    if not facts.judged:
        return "No decision has weighed this candidate yet."
    last = facts.judged[-1]
    said = {
        "winner": f"It won: {last.decision.verb}.",
        "champion": f"It defended as the champion; the gate said {last.decision.verb}.",
        "contender": f"It contended; the gate said {last.decision.verb}, and not for it.",
    }
    serving = next((one for one in facts.served if one.until is None), None)
    now = f" It serves since {_day(serving.since)} as {serving.tag}." if serving else ""
    return said.get(last.role, f"It was a {last.role}.") + now


def _details(facts: Facts) -> Section:
    one = facts.candidate
    return Section(
        title="Model details",
        text=tuple(facts.family_text.split("\n\n")) if facts.family_text else (f"Family {one.family}.",),
        pairs=(
            ("family", one.family),
            ("version", one.id),
            ("seed", str(one.seed)),
            ("settings", _json(one.config)),
            ("settings found by", f"a tuning of {facts.trials} trials" if facts.trials else "the use case"),
            ("code", one.code_version),
            ("paper", "as named above, where the family follows one"),
            ("licence of the model", UNKNOWN),
            ("owner, contact", UNKNOWN),
        ),
    )


def _use(facts: Facts) -> Section:
    case = facts.case
    if case is None:
        asked = (
            f"The use case {facts.candidate.use_case} is not in this code, so what it is for is not known here.",
        )
        return Section(title="Intended use", text=asked)
    horizon = case.features.horizon_days
    return Section(
        title="Intended use",
        text=tuple(facts.case_text.split("\n\n")) if facts.case_text else (),
        pairs=(
            ("task", f"{case.task}: a list of items for one person"),
            ("foretells", f"{', '.join(case.features.label_kinds)} within {horizon} days"),
            ("sees of a person", f"at most the latest {case.features.history_cap:,} of {', '.join(case.features.history_kinds)}"),
            ("intended users", UNKNOWN),
            ("out of scope", "whatever is not this task in this shop: it has been measured on nothing else"),
        ),
    )  # fmt: skip


def _factors(facts: Facts) -> Section:
    measured = facts.evaluation
    if measured is None:
        return Section(title="Factors", text=("It has not been evaluated.",))
    rows = tuple((name, f"{int(part.get('units', 0)):,}") for name, part in sorted(measured.slices.items()))
    return Section(
        title="Factors",
        text=(
            "The slices of people and items that figures are given for. Which other groups matter, and how people differ"
            " who are in none, is not known.",
        ),
        head=("slice", "units"),
        rows=rows,
    )


def _metrics(facts: Facts) -> Section:
    if facts.evaluation is None:
        return Section(title="Metrics", text=("It has not been evaluated.",))
    intervals = (
        "Intervals hold at 95%: mean ± 1.96 standard errors over units, none below 30 units; figures about all lists at once"
        " (coverage, gini, popularity ratio) have none. Leads are paired, by bootstrap, and hold for all contenders together."
    )
    decided = f"{facts.primary} decides; the gate bounds others." if facts.primary else ""
    return Section(
        title="Metrics",
        text=tuple(text for text in (decided, intervals) if text),
        head=("metric", "mean", "95%"),
        rows=tuple((name, f"{mean.value:.4f}", _interval(mean)) for name, mean in facts.means.items()),
    )


def _evaluation_data(facts: Facts) -> Section:
    rows = tuple(
        (
            data.id,
            f"{data.holdout_from.date()} to {data.as_of.date()}",
            f"{one.units:,}",
            f"{one.metrics[facts.primary]:.4f}" if facts.primary in one.metrics else "",
        )
        for one, data in facts.evaluations
    )
    return Section(
        title="Evaluation data",
        text=(
            "The days after those that it learned from, over the full catalogue; one unit per person who took something.",
        ),
        head=("dataset", "days asked for", "people", facts.primary),
        rows=rows,
    )


def _training_data(facts: Facts) -> Section:
    data = facts.dataset
    rows = sum(one.rows for one in facts.verdicts)
    passed = sum(one.passed for one in facts.verdicts)
    return Section(
        title="Training data",
        pairs=(
            ("dataset", data.id),
            ("interactions", f"{data.rows:,}"),
            ("people", f"{data.people:,}"),
            ("items", f"{data.items:,}"),
            ("from", str(data.first_time.date())),
            ("to", f"{data.last_time.date()}, learned from what is before {data.holdout_from.date()}"),
            ("features", data.feature_service),
            ("verdicts", f"{passed:,} of {len(facts.verdicts):,} days passed, {rows:,} rows"),
            ("warnings of the gate", _warnings(facts.verdicts)),
            ("licence of the data", UNKNOWN),
        ),
    )


def _warnings(verdicts: Sequence[Verdict]) -> str:
    failed: dict[str, int] = {}
    for verdict in verdicts:
        for check in verdict.checks:
            if not check.success or check.errored:
                name = f"{check.expectation}{f' of {check.column}' if check.column else ''}"
                failed[name] = failed.get(name, 0) + 1
    told = [
        f"{name} on {count} days" for name, count in sorted(failed.items(), key=lambda one: (-one[1], one[0]))
    ]
    return "; ".join(told[:5]) + (f"; and {len(told) - 5} more" if len(told) > 5 else "") if told else "none"


def _results(facts: Facts) -> Section:
    if not facts.means:
        return Section(title="Quantitative analyses", text=("It has not been evaluated.",))
    whole = facts.means[facts.primary]
    rows = tuple(
        (name, _units(mean), f"{mean.value:.4f}", _interval(mean), f"{mean.value - whole.value:+.4f}")
        for name, mean in facts.slices.items()
    )
    return Section(
        title="Quantitative analyses",
        text=(
            f"{facts.primary} over everybody is {whole.value:.4f}"
            + (f" ({_interval(whole)})." if whole.low is not None else "."),
            "Slices one by one; crossings of slices were not measured.",
        ),
        head=("slice", "units", facts.primary, "95%", "from the mean"),
        rows=(("everybody", _units(whole), f"{whole.value:.4f}", _interval(whole), ""), *rows),
    )


def _decisions(facts: Facts) -> Section:
    if not facts.judged:
        return Section(title="Decisions", text=("No decision has weighed it.",))
    text: list[str] = []
    points: list[str] = []
    for one in facts.judged:
        against = f"the champion {one.decision.champion}" if one.decision.champion else "the baseline"
        found = ""
        if one.comparison is not None and one.comparison.difference is not None:
            low, high = one.comparison.difference_low, one.comparison.difference_high
            found = f", lead {one.comparison.difference:+.4f} ({low:+.4f} to {high:+.4f})"
        breaches = (
            f"; broke {', '.join(one.comparison.breaches)}"
            if one.comparison and one.comparison.breaches
            else ""
        )
        text.append(
            f"{one.decision.id}: {one.role}, against {against}{found}{breaches}. The gate decided {one.decision.verb};"
            f" approved by {one.decision.approved_by}."
        )
        points.extend(one.decision.sentences)
    return Section(title="Decisions", text=tuple(text), points=tuple(dict.fromkeys(points)))


def _service(facts: Facts) -> Section:
    if not facts.served:
        where = f"It is packaged as {facts.bentos[0].tag}, and" if facts.bentos else "It"
        return Section(title="Service", text=(f"{where} has never served.",))
    rows = tuple(
        (
            one.release,
            one.tag,
            str(one.epoch),
            f"{one.stage}, {one.share:.0%}",
            _moment(one.since),
            _moment(one.until) if one.until else "and still does",
        )
        for one in facts.served
    )
    return Section(title="Service", head=("release", "bento", "epoch", "stage", "since", "until"), rows=rows)


def _cost(facts: Facts) -> Section:
    one, measured = facts.candidate, facts.evaluation
    return Section(
        title="Cost",
        pairs=(
            ("fit", f"{one.fit_seconds:,.1f} s"),
            ("memory, peak", f"{one.peak_bytes / 1e6:,.0f} MB"),
            ("artefact", f"{one.artefact_bytes / 1e6:,.2f} MB"),
            ("one answer, p50", f"{measured.cost['score_ms']:,.2f} ms" if measured and "score_ms" in measured.cost else UNKNOWN),
            ("energy, carbon", UNKNOWN),
        ),
    )  # fmt: skip


def _ethics(facts: Facts) -> Section:
    return Section(
        title="Ethical considerations",
        text=(
            "People are keyed pseudonyms: the model and its data hold no name and no address. It learned from what people did,"
            " so it knows what they took.",
            "Whether the people agreed, whom its lists may harm, and whether it treats protected groups alike: " + UNKNOWN + ".",
        ),
    )  # fmt: skip


def _limits(facts: Facts) -> Section:
    """Say what is worse than the mean, how old what it knows is, and whom it does not know."""
    whole = facts.means.get(facts.primary)
    points: list[str] = []
    for name, mean in facts.slices.items():
        if whole is not None and mean.value < whole.value:
            sure = mean.high is not None and mean.high < whole.value
            doubt = "" if sure else " (too few units, or too close, to be sure)"
            points.append(
                f"{name}: {facts.primary} {mean.value:.4f} over {_units(mean)} units, {whole.value - mean.value:.4f} below"
                f" the mean{doubt}."
            )
    data = facts.dataset
    points.append(
        f"It knows nothing after {data.last_time.date()}"
        + (
            f"; when it first served, that was {(facts.served[0].since - data.last_time).days:,} days ago."
            if facts.served
            else "."
        )
    )
    points.append(
        f"It knows {data.people:,} people and {data.items:,} items. Whoever or whatever is not among them is unknown to it:"
        " a new person is answered without a history, a new item is proposed by nobody's history."
    )
    if not any("new" in name for name in facts.slices):
        points.append("How it does for new people was not measured.")
    return Section(title="Caveats and recommendations", points=tuple(points))


def _reproduction(facts: Facts) -> Section:
    one = facts.candidate
    commit = one.code_version.split()[0].removeprefix("git:")
    changed = (
        " (with changes that no commit holds: the digest of the sources says which)"
        if commit.endswith("+")
        else ""
    )
    return Section(
        title="How to reproduce",
        points=(
            f"git checkout {commit.removesuffix('+')}{changed}",
            "counterfoil data import ...   (the same days; counterfoil data list shows the digest)",
            f"counterfoil run {one.use_case} --as-of {facts.dataset.as_of.date()}   (the same id is the same bytes)",
            f"counterfoil restore {one.id} FOLDER   (this very artefact, checked against its digests)",
        ),
    )


def _record(facts: Facts) -> Section:
    one, data = facts.candidate, facts.dataset
    evaluation = facts.evaluation
    pairs = [
        ("candidate", one.id),
        ("artefact's address", one.address),
        ("artefact's manifest, SHA-256", one.sha256),
        ("dataset", data.id),
        ("dataset's address", data.address),
        ("dataset's manifest, SHA-256", data.sha256),
        *([("evaluation", evaluation.id), ("scores' address", evaluation.address)] if evaluation else []),
        *(("bento", f"{bento.id}, {bento.tag}, SHA-256 {bento.sha256}") for bento in facts.bentos),
        ("lineage", f"counterfoil lineage {one.id}; counterfoil prov {one.id}"),
    ]
    return Section(title="Record", pairs=tuple(pairs))


def _leads(facts: Facts) -> tuple[tuple[str, float, float, float], ...]:
    whole = facts.means.get(facts.primary)
    if whole is None:
        return ()
    return tuple(
        (name, mean.value - whole.value, mean.low - whole.value, mean.high - whole.value)
        for name, mean in facts.slices.items()
        if mean.low is not None and mean.high is not None
    )


def _interval(mean: Mean) -> str:
    return "" if mean.low is None else f"{mean.low:.4f} to {mean.high:.4f}"


def _units(mean: Mean) -> str:
    return "" if mean.units is None else f"{mean.units:,}"


def _moment(moment: datetime) -> str:
    return canonical.utc_text(moment.replace(microsecond=0))


def _day(moment: datetime) -> str:
    return str(moment.date())


def _json(value: Any) -> str:
    return orjson.dumps(canonical.plain(value), option=orjson.OPT_SORT_KEYS).decode()
