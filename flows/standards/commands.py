"""What `counterfoil prov`, `card` and `bom` do, and how a person is shown what came of it."""

import sys
from pathlib import Path
from typing import Any

from counterfoil import terminal
from flows.commands import copy_page
from flows.place import open_place


def prov(thing: str, out: Path | None) -> dict[str, Any]:
    """Return the chain behind a thing as PROV-JSON, or where it was written."""
    from flows.standards import prov as standard

    made = standard.document(open_place(), thing)
    return made if out is None else _written(standard.encode(made), out)


def bom(bento: str, out: Path | None) -> dict[str, Any]:
    """Return the bill of a bento, or where it was written."""
    from flows.standards import bom as standard

    made = standard.bom(open_place(), bento)
    return made if out is None else _written(standard.encode(made), out)


def card(candidate: str, html: Path | None) -> dict[str, Any]:
    """Return the card of a candidate, and where its page was written."""
    from flows.standards import card_page
    from flows.standards.card import card as write

    made = write(open_place(), candidate)
    if html is not None:
        copy_page(card_page.html(made).encode(), html)
    return {"card": made, "markdown": card_page.markdown(made), "html": None if html is None else str(html)}


def _written(content: bytes, out: Path) -> dict[str, Any]:
    copy_page(content, out)
    return {"file": str(out), "bytes": len(content)}


def show_written(told: dict[str, Any]) -> None:
    """Show the document itself, or say where it is."""
    if told.keys() == {"file", "bytes"}:
        terminal.OUT.print(f"{told['file']}: {told['bytes']:,} bytes", highlight=False, markup=False)
        return
    terminal.emit(told, True, show_written)


def show_card(told: dict[str, Any]) -> None:
    """Show the card as Markdown, or say where its page is."""
    if told["html"] is not None:
        terminal.OUT.print(f"model card: {told['html']}", highlight=False, markup=False, soft_wrap=True)
    else:
        sys.stdout.write(told["markdown"])
