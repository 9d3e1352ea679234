"""What `counterfoil blast-radius` says: what was reached, what of it serves now, and what there is to do."""

from collections.abc import Sequence
from typing import Any

import orjson
from rich.markup import escape

from counterfoil import terminal
from counterfoil.catalog.lineage import records
from counterfoil.errors import InputError
from counterfoil.terminal import Stages
from flows import earlier, quarantine
from flows.blast import KINDS, Reached, radius
from flows.place import Place, open_place

ABOUT = {
    "dataset": ("use_case", "as_of"),
    "attempt": ("family", "dataset"),
    "candidate": ("family", "dataset"),
    "evaluation": ("candidate", "dataset"),
    "decision": ("use_case", "verb", "winner"),
    "bento": ("tag", "candidate"),
    "online": ("as_of", "dataset", "rows"),
}
SHOWN = 5


def blast_radius(
    words: Sequence[str],
    stages: Stages,
    quarantined: bool = False,
    reason: str | None = None,
    by: str | None = None,
) -> dict[str, Any]:
    """Say what something has reached, and put that into quarantine when asked to. InputError when no reason is given for it."""
    if quarantined and not (reason or "").strip():
        raise InputError("a quarantine needs a reason; say it with --reason TEXT")
    if not quarantined and (reason or by):
        raise InputError("--reason and --by go with --quarantine; give that too, or leave them out")
    place = open_place()
    found = radius(place, words, stages.advance)
    kept = None
    if quarantined:
        made = quarantine.impose(place, found.subject.text, found.reach.made, found.sources, reason or "", by)
        kept = {"id": made.id, "nouns": len(made.nouns), "reason": made.reason, "by": made.by}
    return {**told(place, found), "quarantine": kept}


def told(place: Place, found: Reached) -> dict[str, Any]:
    """Return what was reached as plain values."""
    names = {kind: found.of(kind) for kind in KINDS}
    bodies = {
        name: orjson.loads(row.body)
        for name, row in records(place.catalog, [name for kind in KINDS for name in names[kind]]).items()
    }
    releases = _releases(place, found, set(names["release"]))
    return {
        "of": found.subject.text if found.subject.kind != "person" else f"person:{found.subject.values[0]}",
        "kind": found.subject.kind,
        **{
            f"{kind}s" if kind != "online" else kind: [
                {
                    "id": name,
                    **_more(found, name),
                    **{field: bodies[name].get(field) for field in ABOUT[kind]},
                }
                for name in names[kind]
            ]
            for kind in KINDS
            if kind != "release"
        },
        "releases": releases,
        "answers": found.answers.answers,
        "people": found.answers.people,
        "first_answer": found.answers.first,
        "last_answer": found.answers.last,
        "sources": [
            {"day": day, "sha256": sha256}
            for day, versions in sorted(found.sources.items())
            for sha256 in sorted(versions)
        ],
        "todo": _todo(place, found, releases),
        "notes": list(found.notes),
    }


def _more(found: Reached, name: str) -> dict[str, Any]:
    if name.startswith("dataset-"):
        return {"by": sorted(found.held.get(name, ()))}
    if name.startswith("decision-"):
        return {"only_weighed": name in found.reach.weighed}
    return {}


def _releases(place: Place, found: Reached, names: set[str]) -> list[dict[str, Any]]:
    """Return the reached releases, the newest first: those that serve now, and those that did."""
    return [
        {
            "id": row["id"],
            "use_case": row["use_case"],
            "epoch": row["epoch"],
            "stage": row["stage"],
            "from": row["valid_from"],
            "to": row["valid_to"],
            "serves": row["valid_to"] is None,
            "answers": found.answers.releases.get(row["id"], 0),
        }
        for row in place.catalog.releases()
        if row["id"] in names
    ]


def _todo(place: Place, found: Reached, releases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, per use case whose release of now is reached, the newest earlier one that is not, and how to go back to it."""
    return [
        {
            "use_case": one["use_case"],
            "serves": one["id"],
            "back_to": _back_to(place, found, one),
            "command": f"counterfoil rollback {one['use_case']}",
        }
        for one in releases
        if one["serves"] and one["stage"] == "champion"
    ]


def _back_to(place: Place, found: Reached, serving: dict[str, Any]) -> str | None:
    for release in earlier.champions(place, serving["use_case"], serving["epoch"]):
        if (
            release.id not in found.reach.made
            and quarantine.hold(place, earlier.bento_of(place, release)) is None
        ):
            return release.id
    return None


def show(told: dict[str, Any]) -> None:
    """Show a person what was reached, what serves now, and what to do."""
    say = _say
    say(f"[bold]{escape(told['of'])}[/] reached")
    for kind in ("datasets", "attempts", "candidates", "evaluations", "decisions", "bentos", "online"):
        if told[kind]:
            say(f"  {len(told[kind]):>9,} {_name(kind, told[kind])}  [dim]{_first(told[kind])}[/]")
    for one in told["releases"]:
        until = "[bold red]serves now[/]" if one["serves"] else f"until {one['to']:%Y-%m-%d %H:%M}"
        say(
            f"  {one['id']} (epoch {one['epoch']} of {one['use_case']}, {one['stage']}) from"
            f" {one['from']:%Y-%m-%d %H:%M}, {until}: {one['answers']:,} answers"
        )
    if told["answers"]:
        say(
            f"  {told['answers']:,} answers to {told['people']:,} people, from {told['first_answer']:%Y-%m-%d %H:%M}"
            f" to {told['last_answer']:%Y-%m-%d %H:%M} UTC"
        )
    elif not any(told[f"{kind}s" if kind != "online" else kind] for kind in KINDS):
        say("  nothing: no dataset, no model, no answer")
    for note in told["notes"]:
        say(f"[dim]note[/] {escape(note)}")
    _show_todo(told)


def _show_todo(told: dict[str, Any]) -> None:
    if told["quarantine"]:
        kept = told["quarantine"]
        _say(
            f"[bold]{kept['id']}[/] keeps {kept['nouns']:,} nouns, and what is made of this later, from being released"
            f" (`counterfoil quarantine lift {kept['id']} --reason TEXT` ends it)"
        )
    for one in told["todo"]:
        if one["back_to"] is None:
            _say(
                f"{one['serves']} serves {one['use_case']} now, and no earlier release is free of this:"
                " mend the data and run again"
            )
        else:
            _say(
                f"{one['serves']} serves {one['use_case']} now and goes on: `{one['command']}` takes it back;"
                f" the newest earlier release that is free of this is {one['back_to']}"
            )
    if told["todo"] and not told["quarantine"]:
        _say("`--quarantine --reason TEXT` keeps all this from being released again")


def _say(text: str) -> None:
    terminal.OUT.print(text, highlight=False, soft_wrap=True)


def _name(kind: str, rows: list[dict[str, Any]]) -> str:
    if kind == "online":
        return "versions of online rows"
    weighed = sum(row.get("only_weighed", False) for row in rows)
    return f"{kind} ({weighed} of them only weighed it)" if weighed else kind


def _first(rows: list[dict[str, Any]]) -> str:
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return ", ".join(row["id"] for row in rows[:SHOWN]) + more
