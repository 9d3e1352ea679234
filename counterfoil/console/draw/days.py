"""Days as a calendar: a block per month, a cell per day, coloured by its verdict; and sparklines.

A cell is the fuller the more rows its day has.
"""

import calendar
from collections.abc import Iterator, Sequence
from datetime import date
from html import escape
from itertools import groupby
from typing import Any

from markupsafe import Markup

CELL, GAP = 14, 3
STEP = CELL + GAP
FULL = 4  # steps of how full a cell is
SPARK_WIDTH, SPARK_HEIGHT = 160, 30


def months(days: Sequence[dict[str, Any]], states: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield each month with its name, how many days of which state it has, and its block as SVG."""
    most = max((day["rows"] for day in days), default=0)
    for month, inside in groupby(days, key=lambda day: str(day["day"])[:7]):
        held = list(inside)
        counts = {state: sum(day["state"] == state for day in held) for state in states}
        told = ", ".join(f"{count} {states[state]}" for state, count in counts.items() if count)
        name = f"{calendar.month_name[int(month[5:])]} {month[:4]}"
        yield {
            "month": month,
            "name": name,
            "days": held,
            "says": told,
            "svg": _block(held, states, name, told, most),
        }


def _block(days: list[dict[str, Any]], states: dict[str, str], name: str, told: str, most: int) -> Markup:
    first = date.fromisoformat(days[0]["day"]).replace(day=1)
    cells = [_cell(day, first.weekday(), states, most) for day in days]
    label = escape(f"{name}: {told}")
    width, height = 6 * STEP - GAP, 7 * STEP - GAP
    text = (
        f'<svg class="month" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        f' aria-label="{label}">{"".join(cells)}</svg>'
    )
    return Markup(text)


def _cell(day: dict[str, Any], offset: int, states: dict[str, str], most: int) -> str:
    place = offset + int(day["day"][8:10]) - 1
    x, y = (place // 7) * STEP, (place % 7) * STEP
    full = max(1, round(FULL * day["rows"] / most)) if most else 1
    told = escape(f"{day['day']}: {day['rows']:,} rows, {states[day['state']]}")
    cross = (
        f'<path class="cross" d="M{x + 4} {y + 4}l6 6m0 -6l-6 6"/>'
        if day["state"] in ("bad", "fault")
        else ""
    )
    return (
        f'<g class="day {day["state"]} full{full}"><title>{told}</title>'
        f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" rx="3"/>{cross}</g>'
    )


def spark(values: Sequence[float], label: str) -> Markup:
    """Draw values from left to right as a small line without axes, its newest one marked."""
    low, high = min(values), max(values)
    span = high - low or 1.0
    across = (SPARK_WIDTH - 8) / max(1, len(values) - 1)
    points = [
        (round(4 + place * across, 1), round(SPARK_HEIGHT - 4 - (value - low) / span * (SPARK_HEIGHT - 8), 1))
        for place, value in enumerate(values)
    ]
    line = " ".join(f"{x},{y}" for x, y in points)
    x, y = points[-1]
    text = (
        f'<svg class="spark" viewBox="0 0 {SPARK_WIDTH} {SPARK_HEIGHT}" width="{SPARK_WIDTH}" height="{SPARK_HEIGHT}"'
        f' role="img" aria-label="{escape(label)}"><polyline points="{line}"/><circle cx="{x}" cy="{y}" r="3"/></svg>'
    )
    return Markup(text)
