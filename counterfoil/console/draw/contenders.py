"""The plots of a decision: leads with their intervals, accuracy against coverage; and how full a cell of a table is."""

from typing import Any

from markupsafe import Markup

from flows.report import svg


def leads(told: dict[str, Any]) -> Markup:
    """Draw the leads over the reference, with the band that does not count; nothing where nobody was paired."""
    rows = [
        svg.Interval(
            name=one["name"],
            mean=one["lead"][0],
            low=one["lead"][1],
            high=one["lead"][2],
            bar=one["bar"],
            tone=one["tone"],
        )
        for one in sorted(told["contenders"], key=lambda one: -(one["lead"] or (0.0,))[0])
        if one["lead"] is not None
    ]
    label = f"Leads over {told['reference']} in {told['primary']}, with 95% intervals"
    return Markup(svg.forest(rows, label) if rows else "")


def coverage(told: dict[str, Any]) -> Markup:
    """Draw accuracy against how much of the catalogue is shown; nothing for fewer than two contenders."""
    points = [
        svg.Point(
            name=one["name"],
            x=one["coverage"],
            y=one["value"],
            low=one["low"],
            high=one["high"],
            tone=one["tone"],
        )
        for one in told["contenders"]
        if one["coverage"] is not None
    ]
    if len(points) < 2:
        return Markup("")
    label = f"{told['primary']} against coverage"
    return Markup(svg.scatter(points, "coverage", told["primary"], label))


def heat(value: float, values: list[float | None]) -> str:
    """Return the class of a cell by how high its value is among those of its row: `heat0` to `heat8`, the best marked."""
    known = [one for one in values if one is not None]
    low, high = min(known), max(known)
    if high <= low:
        return "heat0"
    return f"heat{round(8 * (value - low) / (high - low))}{' top-value' if value == high else ''}"
