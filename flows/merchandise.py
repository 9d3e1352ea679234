"""Merchandising rules set by a person, shown, and checked; services take them up by themselves."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bentos.recommend import rulebook
from bentos.recommend.rulebook import NO_RULES, Rule, Rulebook, Scope
from counterfoil import settings, terminal
from counterfoil.errors import InputError
from counterfoil.types import Release
from flows.place import open_place
from flows.verbs import bento_folder

SHOWN = 5
KINDS = ("items", "categories", "brands", "sellers")
CAPPED = {"category": "categories", "brand": "brands", "seller": "sellers"}


def read(path: Path) -> Rulebook:
    """Read a file of rules. InputError when it is not there, ConfigError when it is wrong."""
    try:
        return rulebook.of_bytes(path.read_bytes())
    except OSError as fault:
        raise InputError(f"{path} cannot be read ({fault}); name a JSON file of rules") from fault


def place(path: Path) -> dict[str, Any]:
    """Let the rules of a file hold from now on, and tell what they are."""
    rules, current = read(path), settings.load()
    rulebook.place(rules, current.run / rulebook.FILE, current.home / rulebook.KEPT)
    return told(rules)


def shown() -> dict[str, Any]:
    """Tell which rules hold. ConfigError when the file that services read is broken: they stay with the last good one."""
    path = settings.load().run / rulebook.FILE
    return told(read(path) if path.is_file() else NO_RULES)


def checked(path: Path) -> dict[str, Any]:
    """Tell what the rules of a file would be, and which of their names the serving catalogue does not have."""
    rules = read(path)
    return {**told(rules), "unknown": unknown(rules)}


def told(rules: Rulebook) -> dict[str, Any]:
    """Return rules by their digest, whole, and one line per rule."""
    at_us = round(datetime.now(UTC).timestamp() * 1e6)
    parts = (("exclude", rules.excludes), ("boost", rules.boosts), ("pin", rules.pins))
    return {
        "digest": rulebook.digest(rules) or None,
        "rules": rules.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "list": [_line(kind, rule, at_us) for kind, some in parts for rule in some],
    }


def _line(kind: str, rule: Rule, at_us: int) -> dict[str, Any]:
    routes = rule.routes or ["recommend"]
    return {
        "kind": kind,
        "name": rule.name,
        "from": rule.since,
        "until": rule.until,
        "routes": rule.routes or "all",
        "holds": any(rule.holds(at_us, route) for route in routes),
    }


def unknown(rules: Rulebook) -> dict[str, list[str]] | None:
    """Return the names of rules by kind, and the caps, that no serving catalogue knows; None when nothing serves yet."""
    from bentos import snapshot

    place = open_place()
    releases = [place.catalog.get(one["id"]) for one in place.catalog.releases() if one["valid_to"] is None]
    folders = [bento_folder(place, one.tag) for one in releases if isinstance(one, Release)]
    found = [folder for folder in folders if folder.is_dir()]
    if not found:
        return None
    named = _named(rules)
    for folder in found:
        there = snapshot.names(folder / "src" / "data" / snapshot.ITEMS)
        there["caps"] = {cap for cap, kind in CAPPED.items() if there[kind]}
        named = {kind: some - there[kind] for kind, some in named.items()}
    return {kind: sorted(some) for kind, some in named.items()}


def _named(rules: Rulebook) -> dict[str, set[str]]:
    """Return what rules name, by kind."""
    scopes: tuple[Scope, ...] = (*rules.excludes, *rules.boosts)
    named = {kind: {name for rule in scopes for name in getattr(rule, kind)} for kind in KINDS}
    named["items"] |= {rule.item for rule in rules.pins}
    named["caps"] = set(rules.caps.model_dump(exclude_none=True))
    return named


def show(found: dict[str, Any]) -> None:
    """Show the rules in a table, and what was set besides."""
    if found["digest"] is None:
        terminal.OUT.print("no rules: answers come as the model orders them")
        return
    terminal.OUT.print(f"[bold]rules {found['digest']}[/]", highlight=False)
    for name, value in found["rules"].items():
        if name not in ("excludes", "boosts", "pins"):
            terminal.OUT.print(f"  {name}: {value}", highlight=False)
    if found["list"]:
        columns = ["kind", "name", "from", "until", "routes", "holds"]
        rows = [[_said(one[column]) for column in columns] for one in found["list"]]
        terminal.table("Rules", columns, rows)
    _show_unknown(found.get("unknown"))


def _show_unknown(unknown: dict[str, list[str]] | None) -> None:
    for kind, names in (unknown or {}).items():
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            terminal.OUT.print(
                f"[yellow]unknown {kind}[/]: {', '.join(names[:SHOWN])}{more}; such a rule does nothing for them",
                highlight=False,
            )


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "now" if value else "not now"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M %Z}"
    return ", ".join(value) if isinstance(value, list) else str(value or "")
