"""What `counterfoil data ...` does, and how a person is shown what came of it. Arguments in, plain values out."""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterfoil import terminal
from counterfoil.errors import ContractError, InputError, UnavailableError
from counterfoil.terminal import Stages
from flows.place import open_place
from flows.standards import openlineage

if TYPE_CHECKING:
    from counterfoil.types import Event


def import_data(kind: str, path: Path | None, mapping: Path | None, stages: Stages) -> Any:
    """Land a source."""
    from counterfoil.importers import open_source
    from counterfoil.landing import land

    place = open_place()
    source = open_source(kind, path, mapping=mapping)
    with stages.stage("land", kind), openlineage.stage(place, "land", kind) as told:
        landed = land(source, place.settings, stages.advance)
        told.landed(place, kind, landed.batch, landed.days, landed.already)
    return landed


def show_landed(landed: Any) -> None:
    """Show what a landing did."""
    if landed.already:
        terminal.OUT.print(
            f"This very source has landed before as batch {landed.batch}; nothing was changed."
        )
    terminal.OUT.print(
        f"{landed.rows_in:,} rows in = {landed.landed:,} landed + {landed.duplicates:,} duplicates"
        f" + {landed.quarantined:,} quarantined; {len(landed.days)} days, {landed.items:,} items, {landed.people:,} people"
        f" in {landed.seconds:.1f} s"
    )
    for reason, count in sorted(landed.reasons.items()):
        terminal.OUT.print(f"  quarantined: {reason}: {count:,}")


def list_data() -> dict[str, Any]:
    """Return what has landed."""
    from counterfoil.landing import read_manifest

    manifest = read_manifest(open_place().settings)
    return {
        "events": manifest.rows,
        "days": {day: part.rows for day, part in manifest.days.items()},
        "items": manifest.items.rows if manifest.items else 0,
        "people": manifest.people.rows if manifest.people else 0,
        "digest": manifest.digest,
        "batches": list(manifest.batches),
    }


def show_data(listed: dict[str, Any]) -> None:
    """Show what has landed."""
    days = sorted(listed["days"])
    span = f"{days[0]} .. {days[-1]}" if days else "no day yet"
    terminal.OUT.print(
        f"{listed['events']:,} events on {len(days)} days ({span}), {listed['items']:,} items, {listed['people']:,} people"
    )
    rows = [[b.batch, b.name, b.rows_in, b.landed, b.duplicates, b.quarantined] for b in listed["batches"]]
    terminal.table("Batches", ["batch", "source", "rows in", "landed", "duplicates", "quarantined"], rows)


def simulate(
    events: int,
    seed: int,
    folder: Path | None,
    drift_day: int | None,
    faults: tuple[str, ...],
    land: bool,
    stages: Stages,
) -> dict[str, Any]:
    """Make a shop with planted truths, and land its events."""
    from counterfoil.simulator import ShopConfig
    from counterfoil.simulator import simulate as make

    folder = folder or open_place().settings.home / "simulated" / f"seed-{seed}-{events}"
    config = ShopConfig.sized(events, seed=seed, drift_day=drift_day, faults=faults)
    with stages.stage("simulate"):
        made = make(config, folder, lambda done, wanted: stages.advance("simulate", done))
    landed = import_data("contract", folder, None, stages) if land else None
    return {"simulated": made, "landed": landed}


def show_simulated(made: dict[str, Any]) -> None:
    """Show what was made, and what of it landed."""
    shop = made["simulated"]
    terminal.OUT.print(
        f"{shop.events:,} events of {shop.people:,} people on {shop.items:,} items in {shop.seconds:.1f} s; the truth is in"
        f" {shop.folder}/truth",
        highlight=False,
    )
    if made["landed"] is not None:
        show_landed(made["landed"])


def live(
    folder: Path,
    url: str,
    rounds: int,
    seed: int,
    stages: Stages,
    *,
    events_url: str | None = None,
    key: str | None = None,
) -> dict[str, Any]:
    """Let simulated people ask a running service and react to its lists; land what they do, or send it to `events_url`.

    `key` is the gateway's, None where it asks for none. UnavailableError when somebody does not answer, ContractError when events
    are refused.
    """
    from counterfoil.simulator import LiveShop, Truth
    from counterfoil.simulator import live as visits

    config = Truth.load(folder).config
    opened = config.day_start(config.days)
    with stages.stage("live"):
        happened = visits(LiveShop.open(folder, opened), _asker(url, opened, stages, key), rounds, seed)
        events = list(happened if events_url is None else sent(happened, events_url, _with_key(key)))
    kinds = {
        kind: sum(event.kind == kind for event in events) for kind in sorted({event.kind for event in events})
    }
    told = {"rounds": rounds, "events": len(events), "kinds": kinds}
    if events_url is not None:
        return {**told, "sent": events_url}
    out = open_place().settings.home / "simulated" / f"live-{seed}-{rounds}"
    _keep(events, out)
    return {**told, "landed": import_data("contract", out, None, stages)}


def sent(happened: Iterable["Event"], url: str, headers: dict[str, str]) -> Iterator["Event"]:
    """Yield events once the collector has them: what happens in one visit goes together, when the visit ends."""
    import httpx

    from counterfoil import canonical

    with httpx.Client(base_url=url, timeout=30, headers=headers) as client:
        for _, visit in groupby(happened, key=lambda event: event.session):
            events = list(visit)
            rows = [
                {
                    name: value
                    for name, value in (
                        canonical.plain(event) | {"time": canonical.utc_text(event.time)}
                    ).items()
                    if value is not None
                }
                for event in events
            ]
            _post(client, rows)
            yield from events


def _post(client: Any, rows: list[dict[str, Any]], attempts: int = 5) -> None:
    import httpx

    for attempt in range(attempts):
        try:
            reply = client.post("/events", json={"events": rows})
        except httpx.HTTPError as fault:
            raise UnavailableError(
                f"nobody takes events at {client.base_url} ({fault}); start the platform with `counterfoil up`"
            ) from fault
        if reply.status_code not in (429, 503) or attempt + 1 == attempts:
            break
        time.sleep(float(reply.headers.get("retry-after", 1)))
    if reply.status_code != 200:
        raise UnavailableError(
            f"{client.base_url} answered {reply.status_code} to events: {reply.text[:200]}"
        )
    if refused := [row for row in reply.json()["events"] if row["status"] == "refused"]:
        raise ContractError(
            f"{len(refused)} of {len(rows)} events were refused, the first since {refused[0]['reason']}"
        )


def _with_key(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}


def _keep(events: list["Event"], out: Path) -> None:
    """Write events as the contract has them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from counterfoil import canonical
    from counterfoil.contracts import EVENT

    rows = [canonical.plain(event) | {"time": event.time} for event in events]
    (out / "events").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=EVENT.arrow()), out / "events" / "part-0.parquet")


def _asker(url: str, opened: datetime, stages: Stages, key: str | None = None) -> Any:
    """Return a function that asks the service for a person, in the shop's own time."""
    import httpx

    from counterfoil import canonical
    from counterfoil.simulator import Shown

    client, asked = httpx.Client(base_url=url, timeout=30, headers=_with_key(key)), 0

    def ask(person: str) -> Any:
        nonlocal asked
        asked += 1
        moment = canonical.utc_text(opened + timedelta(seconds=asked))
        try:
            reply = client.post("/recommend", json={"person": person, "n": 10, "context": {"time": moment}})
        except httpx.HTTPError as fault:
            raise UnavailableError(
                f"no service answers at {url} ({fault}); start one with `counterfoil up`"
            ) from fault
        if reply.status_code != 200:
            raise UnavailableError(f"the service at {url} answered {reply.status_code}: {reply.text[:200]}")
        stages.advance("live", asked)
        answered = reply.json()
        return Shown(tuple(item["item"] for item in answered["items"]), answered["receipt"])

    return ask


def show_live(done: dict[str, Any]) -> None:
    """Show what the simulated people did."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in done["kinds"].items())
    terminal.OUT.print(f"{done['rounds']:,} visits, {done['events']:,} events: {kinds}")
    if "sent" in done:
        terminal.OUT.print(f"sent to {done['sent']}; `counterfoil data collect` lands it", highlight=False)
    else:
        show_landed(done["landed"])


def quarantined(batch: str | None) -> dict[str, Any]:
    """Return the batches that have rows in quarantine, or the rows of one."""
    from counterfoil.landing import quarantine, quarantined_rows

    settings = open_place().settings
    if batch is None:
        return {"batches": quarantine(settings)}
    return {"batch": batch, "rows": quarantined_rows(settings, batch).to_pylist()}


def show_quarantined(held: dict[str, Any]) -> None:
    """Show batches with counts, or rows with reasons."""
    if "rows" in held:
        names = list(held["rows"][0]) if held["rows"] else ["row"]
        terminal.table(
            f"Quarantine of {held['batch']}",
            names,
            [[row[name] for name in names] for row in held["rows"][:200]],
        )
        return
    rows = [
        [b.batch, b.rows, "; ".join(f"{r}: {n:,}" for r, n in sorted(b.reasons.items()))]
        for b in held["batches"]
    ]
    terminal.table("Quarantine", ["batch", "rows", "reasons"], rows)


def resubmit(batch: str, fixed: Path | None, stages: Stages) -> Any:
    """Land quarantined rows again, as they are or as a file mends them."""
    from counterfoil.landing import resubmit as again

    if fixed is not None and not fixed.is_file():
        raise InputError(f"{fixed} is no file; give the mended rows")
    with stages.stage("resubmit", batch):
        return again(open_place().settings, batch, fixed)
