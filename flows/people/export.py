"""Everything held about a person, written out: JSON lines per place for machines, one page for people. Nothing is changed."""

import html
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from counterfoil import canonical, terminal
from counterfoil.errors import InputError
from counterfoil.files import write_durably
from counterfoil.terminal import Stages
from flows.people import learned, versions
from flows.people.identify import identify
from flows.people.places import PLACES
from flows.people.who import Who
from flows.place import Place, open_place

SHOWN = 200  # rows of a place on the page; the file has all
ABOUT, PAGE = "about.json", "index.html"


def run(person: str, folder: Path | None, stages: Stages) -> dict[str, Any]:
    """Write out what is held about a person; as `export`."""
    with stages.stage("export"):
        return export(open_place(), person, folder, stages)


def export(
    place: Place, person: str, folder: Path | None = None, stages: Stages | None = None
) -> dict[str, Any]:
    """Write everything that is held about a person into a new folder; return how much, by place.

    InputError when the folder is there already, or lies in the home.
    """
    who = identify(place, person)
    folder = folder or Path.cwd() / f"export-{who.pseudonym[:12]}"
    if folder.exists() or folder.resolve().is_relative_to(place.settings.home.resolve()):
        raise InputError(f"{folder} is there already, or lies in the home; name a new folder elsewhere")
    half = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    try:
        told = _written(place, who, half, stages)
        half.rename(folder)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return {"folder": str(folder), "page": str(folder / PAGE), **told}


def _written(place: Place, who: Who, folder: Path, stages: Stages | None) -> dict[str, Any]:
    counts, tables = {}, []
    for holding in PLACES:
        path, count = folder / f"{holding.name.replace(' ', '-')}.jsonl", 0
        shown: list[dict[str, Any]] = []
        with path.open("wb") as file:
            for row in holding.find(place, who):
                file.write(orjson.dumps(canonical.plain(_said(row)), default=str) + b"\n")
                count += 1
                if len(shown) < SHOWN:
                    shown.append(row)
        counts[holding.name] = count
        tables.append((holding.name, holding.says, count, shown))
        if stages is not None:
            stages.advance("export", sum(counts.values()))
    found = learned.learned(place, who, versions.held(place, who).numbers)
    about = {
        "person": who.pseudonym,
        "name": who.name,
        "at": canonical.utc_text(datetime.now(UTC)),
        "held": counts,
        "learned": [noun.id for noun in found.nouns],
    }
    write_durably(folder / ABOUT, orjson.dumps(about, option=orjson.OPT_INDENT_2) + b"\n")
    write_durably(folder / PAGE, _page(about, tables).encode())
    return {"person": who.pseudonym, "held": counts, "learned": about["learned"]}


def _said(value: Any) -> Any:
    """Return a value as JSON has it: a number that is none is null."""
    if isinstance(value, dict):
        return {str(key): _said(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_said(item) for item in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return None
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value.hex() if isinstance(value, bytes) else value


def _page(about: dict[str, Any], tables: Iterable[tuple[str, str, int, list[dict[str, Any]]]]) -> str:
    """Return one page that needs nothing else: no script, no font, no reference."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>What is held about you</title><style>',
        ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}",
        "div{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem}th,td{border:1px solid #8888;padding:.2rem .5rem;",
        "text-align:left;vertical-align:top;max-width:24rem;overflow-wrap:anywhere}</style></head><body>",
        f"<h1>What is held about {html.escape(about['name'] or about['person'])}</h1>",
        f"<p>As of {html.escape(about['at'])}, under the pseudonym <code>{html.escape(about['person'])}</code>. "
        "Each part lies beside this page as JSON lines.</p>",
    ]
    for name, says, count, rows in tables:
        parts.append(f"<h2>{html.escape(name)}</h2><p>{html.escape(says)}: {count:,} rows.</p>")
        if rows:
            parts.append(_table(rows))
        if count > len(rows):
            parts.append(f"<p>The first {len(rows):,} are shown.</p>")
    names = "".join(f"<li><code>{html.escape(name)}</code></li>" for name in about["learned"])
    parts.append(f"<h2>What learned from them</h2><ul>{names or '<li>nothing</li>'}</ul></body></html>\n")
    return "".join(parts)


def _table(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(row.get(name))}</td>" for name in names) + "</tr>" for row in rows
    )
    return f"<div tabindex='0'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(_said(value), default=str).decode()
    return html.escape(text if len(text) <= 300 else text[:300] + "…")


def show(told: dict[str, Any]) -> None:
    """Say what was written where."""
    rows = [[name, count] for name, count in told["held"].items() if count]
    terminal.table(f"Held about {told['person']}", ["place", "rows"], rows)
    terminal.OUT.print(
        f"{len(told['learned'])} models and bentos learned from them; all of it: {told['page']}",
        highlight=False,
    )
