"""What is configured, what is reachable, and what is wrong on this installation."""

import os
import shutil
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from bentos import inner
from bentos.gateway.admission import LOOPBACK
from counterfoil import collected, redis, terminal
from counterfoil.errors import CounterfoilError
from counterfoil.processes import Processes
from counterfoil.settings import EMBEDDED_KEY
from flows import machine, witness
from flows.health import health
from flows.place import Place, code_version, open_place
from flows.standards import openlineage
from flows.standards.courier import named
from flows.supervisor.world import GATEWAY

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
    url = make_url(place.settings.database).render_as_string(hide_password=True)
    return "ok", f"{url}: {len(place.catalog.addresses())} stored versions"


def _ledger(place: Place) -> tuple[str, str]:
    unsigned = witness.unsigned(place)
    if unsigned:
        return "note", unsigned[0]
    home = place.settings.home.resolve()
    webhooks = [to for to in place.settings.checkpoint_places if "://" in to]
    folders = [Path(to) for to in place.settings.checkpoint_places if "://" not in to]
    if all(folder.resolve().is_relative_to(home) for folder in folders) and not webhooks:
        return (
            "note",
            "signed heads lie in the home, which proves nothing against its owner: name a place elsewhere in"
            " COUNTERFOIL_CHECKPOINTS",
        )
    return "ok", f"heads go to {', '.join(map(named, place.settings.checkpoint_places))}"


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
    if held:
        return "ok", f"{len(held)} keys: {', '.join(sorted(key.name for key in held.values()))}"
    if keys.begun:
        return "wrong", "every key was revoked, so nobody may ask; `counterfoil key make` lets somebody in"
    if place.settings.profile == "embedded" and place.settings.gateway_host in LOOPBACK:
        return (
            "note",
            "no key was made: whoever reaches this machine's loopback may ask; `counterfoil key make` ends that",
        )
    return "wrong", "no key was made, and here the gateway does not begin without one: `counterfoil key make`"


def _online(place: Place) -> tuple[str, str]:
    """Say whether answers find people where they look for them. The store's address may hold a password."""
    from feature_repo import online

    url = place.settings.online_store_url
    where = "the home's own store"
    if url is not None:
        where = f"Redis at {redis.parse(url).place}"
    if place.catalog.champion(machine.USE_CASE) is None:
        return "ok", f"{where} is filled by the first release"
    if online.stands(place.settings):
        return "ok", f"{where} knows people"
    return (
        "wrong",
        f"{where} has nobody whose features were built last, so everybody is answered as unknown; `counterfoil run` fills it",
    )


def _processes(place: Place) -> tuple[str, str]:
    running = Processes(place.settings.home).running()
    told = ", ".join(f"{p.name} at {p.url}" for p in running.values())
    if machine.on_cluster(place):
        told = told or "a cluster follows the release table of this home"
    return "ok", told or "nothing runs here; `counterfoil up` starts it"


def _serving(place: Place) -> tuple[str, str]:
    found = health(place)
    if not found and machine.on_cluster(place) and (routes := machine.routed(place)) is not None:
        return (
            "ok",
            f"every gateway of the cluster had epoch {routes.epoch} last: {routes.champion.release} answers",
        )
    if not found:
        return "ok", "nothing serves here"
    ill = [one for one in found if one.state != "ready"]
    if not ill:
        behind = [one.told["behind_seconds"] for one in found if "behind_seconds" in one.told]
        lag = f"; what happens is visible to answers but for the last {behind[0]:g} s" if behind else ""
        return "ok", f"{', '.join(one.name for one in found)} answer{lag}"
    # before there is a champion the gateway has nobody to ask
    waits = [(one.name, one.state) for one in ill] == [(GATEWAY, "unready")] and (
        place.catalog.champion(machine.USE_CASE) is None
    )
    return "note" if waits else "wrong", " ".join(f"{one.name} is {one.state}: {one.says}" for one in ill)


def _releases(place: Place) -> tuple[str, str]:
    """Say whether who answers here is who the release table says, and what does not come up."""
    if machine.SUPERVISOR not in Processes(place.settings.home).running() and not machine.on_cluster(place):
        return "ok", "no supervisor runs here"
    said = [f"{name}: {says}" for name, says in machine.trouble(place).items()]
    if said:
        return "wrong", "; ".join(said)
    late = machine.behind(place, machine.USE_CASE)
    if late is not None:
        return "note", f"{late.id} does not answer yet"
    return "ok", "what was released comes up"


def _events(place: Place) -> tuple[str, str]:
    waiting = collected.segments(place.settings.events)
    late = [path for path in waiting if _begun(path) < datetime.now(UTC) - timedelta(days=1)]
    if late:
        return (
            "wrong",
            f"{len(late)} segments of events wait to land for longer than a day, the oldest since"
            f" {_begun(late[0]):%Y-%m-%d %H:%M} UTC; `counterfoil data collect` lands them and says what is in their way",
        )
    size = sum(path.stat().st_size for path in waiting)
    return "ok", f"{len(waiting)} segments ({size:,} bytes) of events wait to land"


def _begun(path: Path) -> datetime:
    """Return when a segment of events was begun, by its name; by its file where the name is somebody else's."""
    try:
        return datetime.strptime(path.name.partition("-")[0], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _secrets(place: Place) -> tuple[str, str]:
    run = place.settings.run
    kept = {run: 0o700, run / inner.FILE: 0o600}
    open_to = [
        f"{path} has mode {mode:04o}, and others may get at it: `chmod {wanted:o} {path}`"
        for path, wanted in kept.items()
        if path.exists() and (mode := stat.S_IMODE(path.stat().st_mode)) & ~(wanted | _given(path))
    ]
    if open_to:
        return "wrong", "; ".join(open_to)
    return "ok", f"the token in {run} is for this account alone" if run.exists() else "no token was made yet"


def _given(path: Path) -> int:
    """Return what else a file may allow that is somebody else's, as a mounted secret is: our group reads it."""
    return 0 if path.stat().st_uid == os.getuid() else stat.S_IRGRP


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
    "online": _online,
    "gateway": _gateway,
    "processes": _processes,
    "serving": _serving,
    "releases": _releases,
    "events": _events,
    "secrets": _secrets,
}


def show(found: dict[str, Any]) -> None:
    """Show the findings."""
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "wrong": "[red]wrong[/]"}
    for finding in found["findings"]:
        terminal.OUT.print(
            f"{marks[finding['state']]:<18} {finding['what']:<12} {finding['says']}", highlight=False
        )
