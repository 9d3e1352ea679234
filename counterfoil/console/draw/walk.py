"""One thing and its neighbours as a picture whose boxes are links.

What it was made from is on one side, what was made from it on the other. Drawn twice, wide for screens and narrow for phones;
the style sheet shows the one that fits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from counterfoil.console import words

HEIGHT, GAP, HEAD = 46, 10, 26
LETTER = 6.7  # mean width of a letter at 12 px
WIDE, COLUMN = 1000, 296
NARROW, INDENT = 344, 22


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A box to draw: where it leads, what stands in its two lines, what it is called aloud. Without a link it is a heading."""

    href: str | None
    first: str
    second: str
    aloud: str
    kind: str
    y: float


def picture(told: dict[str, Any]) -> Markup:
    """Draw the neighbourhood, wide and narrow."""
    return Markup(_wide(told) + _narrow(told))


def _wide(told: dict[str, Any]) -> str:
    left, left_height = _boxes(told, "parents")
    right, right_height = _boxes(told, "children")
    height = max(left_height, right_height, HEIGHT + 20)
    middle_y = height / 2 - HEIGHT / 2
    middle_x, right_x = (WIDE - COLUMN) / 2, WIDE - COLUMN
    parts = []
    for box, y in _centred(left, left_height, height):
        if box.href is not None:
            parts.append(_curve(COLUMN, y + HEIGHT / 2, middle_x, middle_y + HEIGHT / 2))
        parts.append(_box(box, 0, y, COLUMN))
    for box, y in _centred(right, right_height, height):
        if box.href is not None:
            parts.append(_curve(middle_x + COLUMN, middle_y + HEIGHT / 2, right_x, y + HEIGHT / 2))
        parts.append(_box(box, right_x, y, COLUMN))
    parts.append(_box(_centre(told), middle_x, middle_y, COLUMN))
    return _svg("wide", WIDE, height, parts, told)


def _narrow(told: dict[str, Any]) -> str:
    above, above_height = _boxes(told, "parents")
    below, below_height = _boxes(told, "children")
    middle_y = above_height + (GAP if above else 0)
    below_y = middle_y + HEIGHT + GAP
    parts = []
    for boxes, start in ((above, 0.0), (below, below_y)):
        for box in boxes:
            if box.href is not None:
                parts.append(_elbow(8, middle_y + HEIGHT / 2, start + box.y + HEIGHT / 2))
            parts.append(_box(box, INDENT, start + box.y, NARROW - INDENT))
    parts.append(_box(_centre(told), 0, middle_y, NARROW))
    return _svg("narrow", NARROW, below_y + below_height, parts, told)


def _svg(name: str, width: float, height: float, parts: list[str], told: dict[str, Any]) -> str:
    label = escape(f"{words.short(told['id'])}, what it was made from and what was made from it")
    return (
        f'<svg class="walk {name}" viewBox="0 0 {width:g} {height + 2:g}" role="group" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def _boxes(told: dict[str, Any], side: str) -> tuple[list[Box], float]:
    """Return the boxes of one side from top to bottom, and how high they are together."""
    boxes: list[Box] = []
    y = 0.0
    for kin in told[side]:
        boxes.append(_heading(kin, side, y))
        y += HEAD
        for box in _members(told, kin, side):
            boxes.append(Box(**{**box, "y": y}))
            y += HEIGHT + GAP
    return boxes, max(0.0, y - GAP)


def _heading(kin: dict[str, Any], side: str, y: float) -> Box:
    one = words.kind_words(kin["kind"])
    text = f"{'made from' if side == 'parents' else 'made into'}: {one}"
    count = f" ({kin['count']:,})" if kin["count"] > 1 else ""
    return Box(href=None, first=text + count, second="", aloud="", kind=kin["kind"], y=y)


def _members(told: dict[str, Any], kin: dict[str, Any], side: str) -> Iterator[dict[str, Any]]:
    for one in kin["shown"]:
        aloud = f"{words.kind_words(kin['kind'])} {one['id']}: {one['says']}"
        yield {
            "href": f"/lineage/{quote(one['id'])}",
            "first": words.short(one["id"]),
            "second": one["says"],
            "aloud": aloud,
            "kind": kin["kind"],
            "y": 0.0,
        }
    more = kin["count"] - len(kin["shown"])
    if more > 0:
        yield {
            "href": f"/lineage/{quote(told['id'])}?side={side}&kind={quote(kin['kind'])}",
            "first": f"and {more:,} more",
            "second": "list them all",
            "aloud": f"{more:,} more of {words.kind_words(kin['kind'])}: list them all",
            "kind": "more",
            "y": 0.0,
        }


def _centre(told: dict[str, Any]) -> Box:
    return Box(
        href=None,
        first=words.short(told["id"]),
        second=told["says"],
        aloud=f"{words.kind_words(told['kind'])} {told['id']}: {told['says']}",
        kind="here",
        y=0.0,
    )


def _centred(boxes: list[Box], own: float, height: float) -> Iterator[tuple[Box, float]]:
    for box in boxes:
        yield box, box.y + (height - own) / 2


def _box(box: Box, x: float, y: float, width: float) -> str:
    if box.href is None and box.kind != "here":
        return f'<text class="head" x="{x:g}" y="{y + 17:g}">{escape(_cut(box.first, width))}</text>'
    inside = (
        f"<title>{escape(box.aloud)}</title>"
        f'<rect x="{x + 1:g}" y="{y:g}" width="{width - 2:g}" height="{HEIGHT}" rx="6"/>'
        f'<text class="id" x="{x + 12:g}" y="{y + 19:g}">{escape(_cut(box.first, width - 24))}</text>'
        f'<text class="says" x="{x + 12:g}" y="{y + 36:g}">{escape(_cut(box.second, width - 24))}</text>'
    )
    if box.href is None:
        return f'<g class="node here">{inside}</g>'
    return f'<a class="node {escape(box.kind)}" href="{escape(box.href)}">{inside}</a>'


def _cut(text: str, width: float) -> str:
    most = int(width / LETTER)
    return text if len(text) <= most else text[: most - 1] + "…"


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    half = (x + to_x) / 2
    return f'<path class="edge" d="M{x:g} {y:g}C{half:g} {y:g} {half:g} {to_y:g} {to_x:g} {to_y:g}"/>'


def _elbow(x: float, y: float, to_y: float) -> str:
    return f'<path class="edge" d="M{x:g} {y:g}V{to_y:g}H{INDENT}"/>'
