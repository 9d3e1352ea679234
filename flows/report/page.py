"""From findings to one HTML page that needs nothing else: no script, no font, no reference. The frame is page.html."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import orjson

from flows.report import svg
from flows.report.findings import Contender, Findings

FRAME = Path(__file__).parent / "page.html"
COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "fit_seconds": ("fit, s", lambda value: f"{value:,.1f}"),
    "fit_cpu_seconds": ("fit, CPU s", lambda value: f"{value:,.1f}"),
    "tuning_cpu_seconds": ("tuning, CPU s", lambda value: f"{value:,.1f}"),
    "peak_bytes": ("peak, MB", lambda value: f"{value / 1e6:,.0f}"),
    "artefact_bytes": ("artefact, MB", lambda value: f"{value / 1e6:,.2f}"),
    "score_ms": ("answer, ms", lambda value: f"{value:,.2f}"),
    "batch_ms": ("answer in a batch, ms", lambda value: f"{value:,.3f}"),
}
SAID = {"best": "wins", "reference": "reference", "broken": "held back", "plain": ""}
VERDICTS = {"promote": "good", "hold": "warn", "reject": "bad"}


def page(found: Findings) -> str:
    """Return the page; the same findings give the same text."""
    sections = (
        _decision(found),
        _contenders(found),
        _leads(found),
        _coverage(found),
        _slices(found),
        _curves(found),
        _tuning(found),
        _costs(found),
        _metrics(found),
        _data(found),
    )
    return Template(FRAME.read_text("utf-8")).substitute(
        title=escape(found.title), body="\n".join(section for section in sections if section)
    )


def _decision(found: Findings) -> str:
    badge = (
        f"<span class='badge {VERDICTS.get(found.verdict, '')}'>{escape(found.verdict)}</span> "
        if found.verdict
        else ""
    )
    closing = (
        f"<p class=lead>{badge}<strong>{escape(found.sentences[-1])}</strong></p>" if found.sentences else ""
    )
    rest = "".join(f"<li>{escape(sentence)}</li>" for sentence in found.sentences[:-1])
    why = f"<details open><summary>Why</summary><ul class=why>{rest}</ul></details>" if rest else ""
    return f"<p class=soft>{escape(found.opening)}</p>{closing}{why}"


def _contenders(found: Findings) -> str:
    names = ("contender", f"{found.primary}", "95%", "lead", "95%", "noise", "")
    rows = [
        (
            _name(one),
            f"{one.value:.4f}",
            f"{one.low:.4f} to {one.high:.4f}",
            "" if one.lead is None else f"{one.lead[0]:+.4f}",
            "" if one.lead is None else f"{one.lead[1]:+.4f} to {one.lead[2]:+.4f}",
            "" if one.noise is None else f"{one.noise:.4f}",
            _standing(one),
        )
        for one in found.contenders
    ]
    return f"<h2>Contenders</h2>{_table(names, rows)}"


def _standing(one: Contender) -> str:
    said = SAID[one.tone]
    badge = f"<span class='badge {one.tone}'>{said}</span>" if said else ""
    return f"{badge}<span class=soft> {escape('; '.join(one.breaches))}</span>" if one.breaches else badge


def _leads(found: Findings) -> str:
    rows = [
        svg.Interval(
            name=one.name, mean=one.lead[0], low=one.lead[1], high=one.lead[2], bar=one.bar, tone=one.tone
        )
        for one in sorted(found.contenders, key=lambda one: -(one.lead or (0.0,))[0])
        if one.lead is not None
    ]
    if not rows:
        return ""
    bars = any(row.bar for row in rows)
    band = (
        "The band is what does not count: the gate's margin, or what refits with other seeds differ by."
        if bars
        else ""
    )
    label = f"Leads over {found.reference} in {found.primary}, with 95% intervals"
    return _figure(
        "Leads", svg.forest(rows, label), f"Over {found.reference}, paired, in {found.primary}. {band}"
    )


def _coverage(found: Findings) -> str:
    name = f"coverage{found.length}"
    points = [
        svg.Point(name=one.name, x=one.metrics[name], y=one.value, low=one.low, high=one.high, tone=one.tone)
        for one in found.contenders
        if name in one.metrics
    ]
    if len(points) < 2:
        return ""
    plot = svg.scatter(points, name, found.primary, f"{found.primary} against {name}")
    return _figure(
        "Accuracy against coverage", plot, "Up is more accurate, right shows more of the catalogue."
    )


def _slices(found: Findings) -> str:
    names = list(dict.fromkeys(name for one in found.contenders for name in one.slices))
    cells = {
        (one.name, name): one.slices[name][found.primary]
        for one in found.contenders
        for name in names
        if found.primary in one.slices.get(name, {})
    }
    shown = [name for name in names if any((one.name, name) in cells for one in found.contenders)]
    if not shown:
        return ""
    rows = []
    for name in shown:
        values = [cells.get((one.name, name)) for one in found.contenders]
        ends = _ends([value for value in values if value is not None])
        units = max(int(one.slices.get(name, {}).get("units", 0)) for one in found.contenders)
        rows.append([escape(name), f"{units:,}", *(_heat(value, *ends) for value in values)])
    said = f"{found.primary} per slice, and how many units it has; the fuller the colour, the better within a row."
    head = ["slice", "units", *(escape(one.name) for one in found.contenders)]
    return f"<h2>Slices</h2><p class=soft>{escape(said)}</p>{_table(head, rows)}"


def _heat(value: float | None, low: float, high: float) -> str:
    if value is None:
        return ""
    share = 0.0 if high <= low else (value - low) / (high - low)
    best = " top" if value == high and high > low else ""
    return f"<span class='heat{best}' style='--share:{100 * share:.0f}%'>{value:.4f}</span>"


def _curves(found: Findings) -> str:
    told = [one for one in found.contenders if one.curve]
    plots = []
    measures = dict.fromkeys(name for one in told for step in one.curve for name in step if name != "step")
    for measure in measures:
        series = [
            svg.Line(
                name=one.name, points=[(step["step"], step[measure]) for step in one.curve if measure in step]
            )
            for one in told
        ]
        series = [line for line in series if line.points]
        plots.append(svg.lines(series, "step", measure, f"{measure} while learning"))
    return _figure("Learning curves", "".join(plots), "As each family tells them.") if plots else ""


def _tuning(found: Findings) -> str:
    tuned = [one for one in found.contenders if one.trials]
    series = [svg.Line(name=one.name, points=_best_so_far(one.trials)) for one in tuned]
    series = [line for line in series if line.points]
    if not series:
        return ""
    said = f"best {found.primary} on the validation so far"
    plot = svg.lines(series, "trial", f"best {found.primary} so far", f"{said}, by trial")
    counts = "; ".join(f"{one.name}: {_counted(one)}" for one in tuned)
    return _figure("Tuning", plot, f"The {said}; trial 0 is the config as it was. {counts}.")


def _best_so_far(trials: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Return the highest value up to each trial, from the first that has one."""
    best: list[tuple[float, float]] = []
    for trial in trials:
        reached = [
            value for value in (trial["value"], *(value for _, value in best[-1:])) if value is not None
        ]
        if reached:
            best.append((trial["number"], max(reached)))
    return best


def _counted(one: Contender) -> str:
    states = [trial["state"] for trial in one.trials]
    told = [f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed") if state in states]
    return f"{len(states)} trials, {', '.join(told)}"


def _costs(found: Findings) -> str:
    shown = [name for name in COSTS if any(name in one.cost for one in found.contenders)]
    if not shown:
        return ""
    most = {name: max(one.cost.get(name, 0.0) for one in found.contenders) for name in shown}
    rows = [
        [_name(one), *(_bar(name, one.cost.get(name), most[name]) for name in shown)]
        for one in found.contenders
    ]
    return f"<h2>Cost</h2>{_table(('contender', *(COSTS[name][0] for name in shown)), rows)}"


def _bar(name: str, value: float | None, most: float) -> str:
    if value is None:
        return ""
    share = 0.0 if most <= 0 else max(0.0, value) / most
    return f"<span class=amount style='--share:{100 * share:.0f}%'>{COSTS[name][1](value)}</span>"


def _metrics(found: Findings) -> str:
    names = sorted({name for one in found.contenders for name in one.metrics})
    rows = [
        (
            escape(name),
            *(f"{one.metrics[name]:.4f}" if name in one.metrics else "" for one in found.contenders),
        )
        for name in names
    ]
    table = _table(("metric", *(escape(one.name) for one in found.contenders)), rows)
    return (
        f"<h2>Every metric</h2><details><summary>{len(names)} metrics</summary>{table}</details>"
        if names
        else ""
    )


def _data(found: Findings) -> str:
    settings = "".join(
        f"<tr><th scope=row>{escape(one.name)}</th><td><code>{escape(_json(one.config))}</code>"
        f"{f'<br><code>{escape(one.note)}</code>' if one.note else ''}</td></tr>"
        for one in found.contenders
    )
    return (
        f"<h2>Data</h2>{_pairs(found.facts)}<h2>Settings</h2><details><summary>{len(found.contenders)} configs</summary>"
        f"<div class=scroll><table class=pairs>{settings}</table></div></details>"
        + (f"<h2>Record</h2>{_pairs(found.record, code=True)}" if found.record else "")
    )


def _json(value: Mapping[str, object]) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _pairs(values: Mapping[str, str], code: bool = False) -> str:
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{f'<code>{escape(value)}</code>' if code else escape(value)}</td></tr>"
        for name, value in values.items()
    )
    return f"<table class=pairs>{rows}</table>"


def _name(one: Contender) -> str:
    return f"<strong class={one.tone}>{escape(one.name)}</strong>"


def _figure(title: str, plot: str, caption: str) -> str:
    return f"<h2>{escape(title)}</h2><figure>{plot}<figcaption class=soft>{escape(caption.strip())}</figcaption></figure>"


def _table(names: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column names and whose others are numbers, but for the last one when it has no name."""
    head = list(names)
    cells = "".join(
        f"<th scope=col{'' if place == 0 or not name else ' class=n'}>{name}</th>"
        for place, name in enumerate(head)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<th scope=row>{text}</th>"
            if place == 0
            else f"<td{' class=n' if head[place] else ''}>{text}</td>"
            for place, text in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<div class=scroll><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)
