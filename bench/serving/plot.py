"""A page of what was measured: latency by load, memory over time, and the tables, in the reports' frame."""

from collections.abc import Mapping
from html import escape
from string import Template
from typing import Any

from flows.report import svg
from flows.report.page import FRAME
from flows.report.svg import Line

MB = 1e6


def page(found: Mapping[str, Any], tables: Mapping[str, str], about: str) -> str:
    """Return the page. `found` and `tables` are by measure; `about` says of which code and machine."""
    parts = [f"<p class=soft>{escape(about)}</p>"]
    for name, text in tables.items():
        parts.append(f"<h2>{escape(name)}</h2>")
        parts += [f"<figure>{plot}</figure>" for plot in PLOTS.get(name, lambda told: [])(found[name])]
        parts.append(f"<pre>{escape(text)}</pre>")
    return Template(FRAME.read_text("utf-8")).substitute(title="Serving, measured", body="\n".join(parts))


def by_load(told: Mapping[str, Any]) -> list[str]:
    """Draw how long answers take (p50 and p99) by how many are asked for a second; one plot per percentile."""
    served = {
        name: one["loads"] for name, one in told.items() if isinstance(one, Mapping) and one.get("loads")
    }
    plots = []
    for share in ("p50", "p99"):
        series = [
            Line(
                name=name,
                points=[(one["asked_rate"], one["ms"][share]) for one in loads.values() if one["ms"]],
            )
            for name, loads in served.items()
        ]
        series = [line for line in series if len(line.points) > 1]
        if series:
            label = f"{share} by load: {', '.join(line.name for line in series)}"
            plots.append(svg.lines(series, "asked a second", f"{share}, ms", label))
    return plots


def memory(told: Mapping[str, Any]) -> list[str]:
    """Draw the memory of each process over the minutes."""
    series = [
        Line(name=name, points=[(at / 60, held / MB) for at, held in rows])
        for name, rows in told["memory"].items()
        if len(rows) > 1
    ]
    return [svg.lines(series, "minutes", "resident, MB", "memory of each process")] if series else []


PLOTS = {"answer": by_load, "soak": memory}
