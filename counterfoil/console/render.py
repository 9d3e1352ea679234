"""One value as a page for people, or as JSON for machines.

A machine gets the very value that the page is filled with, so that both cannot say different things.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from counterfoil import canonical
from counterfoil.console import door, words
from counterfoil.console.draw import contenders, days, walk
from counterfoil.console.read import outside
from counterfoil.console.roles import Right

HERE = Path(__file__).parent
# what the menu shows: path, name, and the right that it takes
MENU = (
    ("/now", "Now", Right.READ),
    ("/contenders", "Contenders", Right.READ),
    ("/answers", "Answer", Right.READ),
    ("/lineage", "Lineage", Right.READ),
    ("/data", "Data", Right.READ),
    ("/time", "Time", Right.READ),
    ("/ledger", "Ledger", Right.LEDGER),
    ("/people", "People", Right.EXPORT),
)


def wants_json(request: Request) -> bool:
    """Say whether the answer is for a machine: by the path's ending, or because JSON is asked for and pages are not."""
    if request.scope.get("state", {}).get("json"):
        return True
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def render(request: Request, template: str, told: Mapping[str, Any], status: int = 200) -> Response:
    """Return a value as JSON, or as the page of that name."""
    if wants_json(request):
        return Response(orjson.dumps(canonical.plain(told)), status, media_type="application/json")
    asks: door.Visitor | None = getattr(request.state, "visitor", None)
    session = asks.session if asks is not None else None
    desk = door.desk(request)
    page = _pages().get_template(template)
    text = page.render(
        **told,
        path=request.url.path,
        visitor=asks,
        csrf=desk.sessions.token(session.id) if session is not None else "",
        menu=[(path, name) for path, name, right in MENU if asks is not None and asks.may(right)],
        links=outside.links(desk.place) if asks is not None else [],
        now=desk.clock(),
    )
    return HTMLResponse(text, status)


@cache
def _pages() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    said = (
        words.is_id, words.plain,
        words.short, words.when, words.ago, words.number, words.signed, words.percent, words.size, words.kind_of,
        words.kind_words, words.counted, words.span,
    )  # fmt: skip
    made.filters.update({function.__name__: function for function in said})
    drawn = (contenders.leads, contenders.coverage, contenders.heat, walk.picture, days.months, days.spark)
    made.globals.update({function.__name__: function for function in drawn})
    return made
