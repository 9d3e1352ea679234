"""Plots as inline SVG: plain functions from numbers to text. Colours are the page's (CSS variables), so dark and print come free.

Every mark carries a `<title>`, which browsers show on hover and readers read aloud. Nothing here knows what is plotted.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

Tone = Literal["best", "reference", "plain", "broken"]
WIDTH = 720
ROW = 26  # height of a row of a forest plot
LETTER = 6.6  # mean width of a letter at 12 px
LINES = ("solid", "5 3", "1.5 3", "8 3 2 3")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A row of a forest plot: a mean with its interval, and the bar that the interval must clear (None: there is none)."""

    name: str
    mean: float
    low: float
    high: float
    bar: float | None
    tone: Tone


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a scatter plot, with the interval of its height."""

    name: str
    x: float
    y: float
    low: float
    high: float
    tone: Tone


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a plot: its points from left to right."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` laid out from `start` to `stop`, with round ticks."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        """Return where a number lies."""
        span = self.high - self.low or 1.0
        return round(self.start + (value - self.low) / span * (self.stop - self.start), 2)

    def ticks(self, most: int = 6) -> list[float]:
        """Return at most `most` round numbers within the scale."""
        step = _step((self.high - self.low) / max(1, most - 1))
        first = math.ceil(round(self.low / step, 9))
        return [n * step for n in range(first, math.floor(round(self.high / step, 9)) + 1)]


def forest(rows: Sequence[Interval], label: str) -> str:
    """Draw one row per interval around zero; the band from zero to the bar is what does not count as a lead."""
    left = 24 + LETTER * max(len(row.name) for row in rows)
    height = ROW * len(rows) + 44
    ends = [end for row in rows for end in (row.low, row.high, 0.0, row.bar or 0.0)]
    x = Scale(*_padded(min(ends), max(ends)), left, WIDTH - 176)
    bottom = ROW * len(rows) + 8
    parts = [_grid_x(x, 8, bottom), _line(x.at(0), 8, x.at(0), bottom, "zero")]
    for place, row in enumerate(rows):
        y = 8 + ROW * (place + 0.5)
        told = f"{row.mean:+.4f} ({row.low:+.4f} to {row.high:+.4f})"
        if row.bar is not None and row.bar > 0:
            width = x.at(row.bar) - x.at(0)
            parts.append(
                f'<rect class="band" x="{x.at(0)}" y="{y - ROW / 2}" width="{width:.2f}" height="{ROW}"/>'
            )
            parts.append(_line(x.at(row.bar), y - ROW / 2, x.at(row.bar), y + ROW / 2, "bar"))
        mark = (
            _line(x.at(row.low), y, x.at(row.high), y, "whisker")
            + f'<circle cx="{x.at(row.mean)}" cy="{y}" r="4.5"/>'
        )
        parts.append(f'<g class="{row.tone}">{_title(f"{row.name}: {told}")}{mark}</g>')
        parts.append(_text(left - 12, y + 4, row.name, "end", row.tone))
        parts.append(_text(WIDTH - 12, y + 4, told, "end", "number"))
    return _svg(height, label, parts)


def scatter(points: Sequence[Point], x_label: str, y_label: str, label: str, height: int = 340) -> str:
    """Draw points with the intervals of their heights, each named to its right where nothing else stands."""
    right = WIDTH - 24 - LETTER * max(len(point.name) for point in points)
    x = Scale(*_padded(*_ends(point.x for point in points)), 62, right)
    spread = [end for point in points for end in (point.low, point.high)]
    y = Scale(*_padded(min(spread), max(spread)), height - 48, 12)
    parts = _axes(x, y, x_label, y_label)
    taken = [(x.at(point.x) - 5, x.at(point.x) + 5, y.at(point.y)) for point in points]
    for point in sorted(points, key=lambda one: (-one.x, -one.y)):
        at_x, at_y = x.at(point.x), y.at(point.y)
        told = f"{point.name}: {y_label} {point.y:.4f}, {x_label} {point.x:.4f}"
        mark = (
            _line(at_x, y.at(point.low), at_x, y.at(point.high), "whisker")
            + f'<circle cx="{at_x}" cy="{at_y}" r="5"/>'
        )
        parts.append(f'<g class="{point.tone}">{_title(told)}{mark}</g>')
        parts.append(_beside(point, at_x, at_y, taken))
    return _svg(height, label, parts)


def lines(series: Sequence[Line], x_label: str, y_label: str, label: str, height: int = 240) -> str:
    """Draw lines over a common axis; each is named at its end."""
    right = WIDTH - 20 - LETTER * max(len(line.name) for line in series)
    x = Scale(*_ends(at for line in series for at, _ in line.points), 62, right)
    y = Scale(*_padded(*_ends(value for line in series for _, value in line.points)), height - 48, 12)
    parts = _axes(x, y, x_label, y_label)
    ends: list[float] = []
    for place, line in enumerate(series):
        path = " ".join(f"{x.at(at)},{y.at(value)}" for at, value in line.points)
        dash = LINES[place % len(LINES)]
        style = "" if dash == "solid" else f' stroke-dasharray="{dash}"'
        told = f"{line.name}: {line.points[-1][1]:.4g} at {line.points[-1][0]:g}"
        parts.append(f'<g class="line line{place % 6}">{_title(told)}<polyline points="{path}"{style}/></g>')
        at_y = _apart(y.at(line.points[-1][1]), ends)
        parts.append(
            _text(x.at(line.points[-1][0]) + 8, at_y + 4, line.name, "start", f"name line{place % 6}")
        )
    return _svg(height, label, parts)


def _axes(x: Scale, y: Scale, x_label: str, y_label: str) -> list[str]:
    """Draw the grid, its numbers, and what the axes mean."""
    middle = (y.start + y.stop) / 2
    turned = f'transform="translate(14 {middle:g}) rotate(-90)" text-anchor="middle"'
    return [
        _grid_x(x, y.stop, y.start),
        _grid_y(y, x.start, x.stop),
        _text((x.start + x.stop) / 2, y.start + 40, x_label, "middle", "axis"),
        f'<text class="axis" {turned}>{escape(y_label)}</text>',
    ]


def _beside(point: Point, at_x: float, at_y: float, taken: list[tuple[float, float, float]]) -> str:
    """Name a point to its right, up or down from where a point or another name stands."""
    start, end = at_x + 9, at_x + 9 + LETTER * len(point.name)

    def free(y: float) -> bool:
        return not any(abs(y - other) < 12 and start < stop and begin < end for begin, stop, other in taken)

    own = next(y for step in range(400) for y in (at_y - 2 * step, at_y + 2 * step) if free(y))
    taken.append((start, end, own))
    leader = _line(at_x, at_y, start - 1, own, "leader") if abs(own - at_y) > 5 else ""
    return leader + _text(start, own + 4, point.name, "start", point.tone)


def _apart(y: float, ends: list[float]) -> float:
    while any(abs(y - other) < 13 for other in ends):
        y -= 2
    ends.append(y)
    return y


def _ends(values: Iterable[float]) -> tuple[float, float]:
    found = list(values)
    return min(found), max(found)


def _padded(low: float, high: float) -> tuple[float, float]:
    """Leave a little room at both ends; a single number gets a neighbourhood."""
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _step(least: float) -> float:
    """Return the round number (1, 2 or 5 times a power of ten) at or above `least`."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(times * power for times in (1, 2, 5, 10) if times * power >= least * (1 - 1e-9))


def _grid_x(x: Scale, top: float, bottom: float) -> str:
    ticks = x.ticks()
    return "".join(
        _line(x.at(tick), top, x.at(tick), bottom, "grid")
        + _text(x.at(tick), bottom + 16, _number(tick), "middle", "tick")
        for tick in ticks
    )


def _grid_y(y: Scale, left: float, right: float) -> str:
    return "".join(
        _line(left, y.at(tick), right, y.at(tick), "grid")
        + _text(left - 8, y.at(tick) + 4, _number(tick), "end", "tick")
        for tick in y.ticks()
    )


def _number(value: float) -> str:
    return f"{round(value, 10) + 0.0:g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}">{escape(text)}</text>'


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _svg(height: float, label: str, parts: Iterable[str]) -> str:
    head = f'<svg class="plot" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">'
    return f"{head}{''.join(parts)}</svg>"
