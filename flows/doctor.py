"""What is configured, what is reachable, and what is wrong on this installation."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bentos.gateway.admission import LOOPBACK
from counterfoil import terminal
from counterfoil.errors import CounterfoilError
from counterfoil.processes import Processes
from counterfoil.settings import EMBEDDED_KEY
from flows import witness
from flows.place import Place, code_version, open_place
from flows.standards import openlineage
from flows.standards.courier import named

DISK_BYTES = 5_000_000_000


def examine() -> dict[str, Any]:
    """Return findings, each `ok`, `note` or `wrong`, with a sentence; `well` says that nothing is wrong."""
    place = open_place()
    findings = [_finding(name, check, place) for name, check in CHECKS.items()]
    return {"well": all(found["state"] != "wrong" for found in findings), "findings": findings}


def _finding(name: str, check: Callable[[Place], tuple[str, str]], place: Place) -> dict[str, str]:
    try:
        state, says = check(place)
    except (CounterfoilError, OSError) as fault:
        state, says = "wrong", str(fault)
    return {"what": name, "state": state, "says": says}


def _python(place: Place) -> tuple[str, str]:
    return "ok", f"{sys.version.split()[0]}, code {code_version()}"


def _profile(place: Place) -> tuple[str, str]:
    return "ok", f"{place.settings.profile}, home {place.settings.home}, {place.settings.threads} threads"


def _pseudonyms(place: Place) -> tuple[str, str]:
    if place.settings.pseudonym_key == EMBEDDED_KEY:
        return (
            "note",
            "the key is the published one: set COUNTERFOIL_PSEUDONYM_KEY before real people's data lands",
        )
    return "ok", "the key is your own; keep it, or nobody finds anybody again"


def _catalog(place: Place) -> tuple[str, str]:
    return "ok", f"{place.settings.database}: {len(place.catalog.addresses())} stored versions"


def _ledger(place: Place) -> tuple[str, str]:
    unsigned = witness.unsigned(place)
    if unsigned:
        return "note", unsigned[0]
    home = place.settings.home.resolve()
    webhooks = [named for named in place.settings.checkpoint_places if "://" in named]
    folders = [Path(named) for named in place.settings.checkpoint_places if "://" not in named]
    if all(folder.resolve().is_relative_to(home) for folder in folders) and not webhooks:
        return (
            "note",
            "signed heads lie in the home, which proves nothing against its owner: name a place elsewhere in"
            " COUNTERFOIL_CHECKPOINTS",
        )
    return "ok", f"heads go to {', '.join(place.settings.checkpoint_places)}"


def _store(place: Place) -> tuple[str, str]:
    lost = [address for address in place.catalog.addresses() if not place.store.has(address)]
    return (
        ("wrong", f"{len(lost)} versions are gone from the store, first {lost[0]}")
        if lost
        else ("ok", str(place.store.root))
    )


def _landing(place: Place) -> tuple[str, str]:
    from counterfoil.landing import read_manifest

    manifest = read_manifest(place.settings)
    return ("ok" if manifest.days else "note"), f"{manifest.rows:,} events on {len(manifest.days)} days"


def _disk(place: Place) -> tuple[str, str]:
    free = shutil.disk_usage(place.settings.home).free
    return ("ok" if free > DISK_BYTES else "wrong"), f"{free / 1e9:.0f} GB free below {place.settings.home}"


def _champion(place: Place) -> tuple[str, str]:
    champion = place.catalog.champion("recommendation")
    return (
        ("note", "no champion yet") if champion is None else ("ok", f"{champion.id}, epoch {champion.epoch}")
    )


def _gateway(place: Place) -> tuple[str, str]:
    from bentos.gateway.keys import Keys

    keys = Keys(place.settings.gateway)
    held = keys.all()
    if held or keys.begun:
        return (
            "ok",
            f"{len(held)} keys: {', '.join(sorted(key.name for key in held.values())) or 'nobody may ask'}",
        )
    if place.settings.profile == "embedded" and place.settings.gateway_host in LOOPBACK:
        return (
            "note",
            "no key was made: whoever reaches this machine's loopback may ask; `counterfoil key make` ends that",
        )
    return "wrong", "no key was made, and here the gateway does not begin without one: `counterfoil key make`"


def _processes(place: Place) -> tuple[str, str]:
    running = Processes(place.settings.home).running()
    return "ok", ", ".join(
        f"{p.name} at {p.url}" for p in running.values()
    ) or "nothing runs here; `counterfoil up` starts it"


def _openlineage(place: Place) -> tuple[str, str]:
    line = openlineage.line_of(place.settings)
    behind = {named(to): line.courier.behind(to) for to in line.courier.places}
    late = [f"{to} misses {count:,} events" for to, count in behind.items() if count]
    if late:
        return "note", f"{'; '.join(late)}: they are sent by the next run that reaches it"
    return "ok", f"events go to {', '.join([str(line.journal.folder), *behind])}"


CHECKS: dict[str, Callable[[Place], tuple[str, str]]] = {
    "python": _python,
    "profile": _profile,
    "pseudonyms": _pseudonyms,
    "catalog": _catalog,
    "ledger": _ledger,
    "store": _store,
    "landing": _landing,
    "openlineage": _openlineage,
    "disk": _disk,
    "champion": _champion,
    "gateway": _gateway,
    "processes": _processes,
}


def show(found: dict[str, Any]) -> None:
    """Show the findings."""
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "wrong": "[red]wrong[/]"}
    for finding in found["findings"]:
        terminal.OUT.print(
            f"{marks[finding['state']]:<18} {finding['what']:<12} {finding['says']}", highlight=False
        )
