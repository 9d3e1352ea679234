"""A model card as Markdown, and as one HTML page that needs nothing else; the frame is that of the reports."""

from html import escape
from string import Template

from flows.report import svg
from flows.report.page import FRAME
from flows.standards.card import Card, Section

NUMBERS = {"mean", "units", "95%", "from the mean", "people", "epoch"}


def markdown(card: Card) -> str:
    """Return the card as Markdown (CommonMark with tables)."""
    parts = [f"# Model card: {card.title}", f"`{card.candidate}`", _plain(card.opening)]
    for section in card.sections:
        parts.append(f"## {section.title}")
        parts += [_plain(text) for text in section.text]
        if section.pairs:
            parts.append(_table_md(("", ""), section.pairs))
        if section.rows:
            parts.append(_table_md(section.head, section.rows))
        if section.points:
            parts.append("\n".join(f"- {_plain(point)}" for point in section.points))
    return "\n\n".join(parts) + "\n"


def html(card: Card) -> str:
    """Return the card as a page: no script, no font, no reference; it reads on paper and in the dark."""
    body = [f"<p class=soft>Model card of <code>{escape(card.candidate)}</code></p>"]
    body.append(f"<p class=lead>{escape(card.opening)}</p>")
    for section in card.sections:
        body.append(_section(section))
        if section.title == "Quantitative analyses" and card.leads:
            body.append(_plot(card))
    return Template(FRAME.read_text("utf-8")).substitute(title=escape(card.title), body="\n".join(body))


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{escape(text)}</p>" for text in section.text]
    if section.pairs:
        rows = "".join(
            f"<tr><th scope=row>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in section.pairs
        )
        parts.append(f"<table class=pairs>{rows}</table>")
    if section.rows:
        parts.append(_table(section))
    if section.points:
        parts.append(f"<ul class=why>{''.join(f'<li>{escape(point)}</li>' for point in section.points)}</ul>")
    return "\n".join(parts)


def _table(section: Section) -> str:
    numeric = [name in NUMBERS or "@" in name for name in section.head]
    head = "".join(
        f"<th scope=col{' class=n' if is_number else ''}>{escape(name)}</th>"
        for name, is_number in zip(section.head, numeric, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<th scope=row>{escape(cell)}</th>"
            if place == 0
            else f"<td{' class=n' if numeric[place] else ''}>{escape(cell)}</td>"
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in section.rows
    )
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _plot(card: Card) -> str:
    rows = [
        svg.Interval(
            name=name, mean=mean, low=low, high=high, bar=None, tone="broken" if high < 0 else "plain"
        )
        for name, mean, low, high in card.leads
    ]
    label = f"{card.primary} of each slice, from the mean over everybody, with 95% intervals"
    return f"<figure>{svg.forest(rows, label)}<figcaption class=soft>{escape(label)}.</figcaption></figure>"


def _table_md(head: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> str:
    lines = [_row_md(head), "|" + "---|" * len(head), *map(_row_md, rows)]
    return "\n".join(lines)


def _row_md(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"


def _plain(text: str) -> str:
    """Return text on one line, with what Markdown would read as its own marks taken as they are."""
    flat = " ".join(text.split())
    for mark in ("\\", "<", "*", "_", "`"):
        flat = flat.replace(mark, "\\" + mark)
    return flat.replace("](", "]\\(")
