"""A home in which one person was planted in every store, and a scan that reads every byte of it, unpacked.

`plant` turns the loop on a small shop and lets the person leave something everywhere: by name where raw files are kept, by
pseudonym elsewhere, and by their session.
"""

import gzip
import json
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil import collected, segment
from counterfoil.contracts import EVENT, ITEM, PERSON
from counterfoil.pseudonym import fingerprint, pseudonym
from counterfoil.receipts import Receipts
from counterfoil.types import Receipt, ReceiptItem
from feature_repo import recent
from feature_repo.pushed import RecentStore
from flows import inbox, sealing
from flows.place import Place
from tests.loop_shop import DAYS, END, START, small_case, turn, write_shop

NAME = "Anna Planted-Person"
SESSION = "session-of-anna-77"
NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
REMOTE = "['remote \"there\"']\n    url = {}\n"


def shop_with_her(folder: Path) -> Path:
    """Write the small shop with the person among its people: the longest history, so that she is a golden row too."""
    write_shop(folder)
    path = folder / "events" / "part-0.parquet"
    rows = pq.read_table(path).to_pylist()
    for day in range(DAYS):
        for item in range(3):
            time = START + timedelta(days=day, hours=9, seconds=item)
            one = {
                "id": f"hers-{day}-{item}",
                "time": time,
                "person": NAME,
                "kind": "purchase",
                "item": f"i{item:03d}",
            }
            rows.append({**one, "quantity": 1.0, "price": 2.0, "session": SESSION})
    rows.append(
        {"id": "hers-bad", "time": START, "person": NAME, "kind": "purchase", "session": SESSION}
    )  # no item: quarantine
    rows.sort(key=lambda row: (row["time"], row["id"]))
    pq.write_table(pa.Table.from_pylist(rows, EVENT.arrow()), path)
    people = [*pq.read_table(folder / "people.parquet").to_pylist(), {"id": NAME, "segment": "few"}]
    pq.write_table(pa.Table.from_pylist(people, PERSON.arrow()), folder / "people.parquet")
    assert pq.read_schema(folder / "items.parquet").equals(ITEM.arrow())
    return folder


def plant(place: Place) -> str:
    """Fill the home; return the person's pseudonym."""
    home, alias = place.settings.home, pseudonym(NAME, place.settings.pseudonym_key)
    waiting = home / "inbox" / "contract" / "shop"
    waiting.parent.mkdir(parents=True)
    shop_with_her(waiting)
    inbox.land_waiting(place)
    raw(home)
    place.store.locked()  # makes the repository
    config = home / ".dvc" / "config"
    config.write_text(config.read_text() + REMOTE.format(home.parent / "remote"))
    turned, _ = turn(place, small_case(), END)
    assert turned.release is not None
    answers(place, alias, turned.release.id)
    traces(home, alias)
    lately(place, alias)
    shutil.copytree(home / ".dvc" / "cache", home.parent / "remote", dirs_exist_ok=True)
    return alias


def lately(place: Place, alias: str) -> None:
    """Leave what came in over HTTP: an event that has not landed, and what answers see of it, also in her session."""
    visit = pseudonym("visit-of-anna-78", place.settings.pseudonym_key)
    event = {
        "id": "hers-late",
        "time": NOON.isoformat(),
        "kind": "click",
        "person": alias,
        "session": visit,
        "item": "i001",
    }
    _, descriptor, _ = collected.begin(place.settings.events, fingerprint(place.settings.pseudonym_key), NOON)
    segment.append(descriptor, segment.line(json.dumps(event, separators=(",", ":")).encode()))
    os.close(descriptor)
    entry = json.dumps(["hers-late", int(NOON.timestamp() * 1e6), "click", "i001", None, visit, None, None])
    text = recent.text(0, entry.encode())
    RecentStore(place.settings).write([(key, recent.RINGS[1].field(0), text) for key in (alias, visit)])


def raw(home: Path) -> None:
    """Leave raw files: one that landed as delimited text, one that was refused, a simulated shop."""
    done = home / "inbox" / "done" / "mapped-0123456789abcdef"
    done.mkdir(parents=True)
    (done / "april.csv").write_text(f"who,what\n{NAME},milk\nsomebody,bread\n")
    refused = home / "inbox" / "refused"
    refused.mkdir()
    with gzip.open(refused / "torn.csv.gz", "wt") as file:
        file.write(f"who,what\n{NAME},milk\n")
    (refused / "other.csv").write_text("who,what\nsomebody,bread\n")
    shop_with_her(home / "simulated" / "seed-1-9")


def answers(place: Place, alias: str, release: str) -> None:
    """Leave receipts: sealed and open, of the person, of somebody else, and of her session without a name."""
    receipts = Receipts(place.settings.receipts)
    champion = place.catalog.champion("small")
    assert champion is not None
    told = {"use_case": "small", "release": release, "bento": champion.tag, "epoch": champion.epoch}
    hers = {"context": {"session": pseudonym(SESSION, place.settings.pseudonym_key)}}
    for number, (person, request) in enumerate(
        [(alias, {}), ("p" + "0" * 20, {}), ("nobody", hers), ("nobody", {})] * 2
    ):
        when = NOON + timedelta(seconds=number)
        receipts.write(
            Receipt(
                id=receipts.new_id(when),
                time=when,
                **told,
                person=person,
                request=request,
                items=(ReceiptItem(item="i001", score=1.0, sources=("popularity",), reasons=("popular",)),),
                rules=(),
                features={},
                feature_time=END,
                degraded=(),
                nonce=f"{number:032x}",
            )
        )
        if number == 3:
            receipts.close()
            sealing.seal(place, quiet_seconds=0)
            receipts = Receipts(place.settings.receipts)
    receipts.close()


def traces(home: Path, alias: str) -> None:
    """Leave lines of a log, a page, and rows of a tool's database, one of them deleted but still in a free page."""
    (home / "logs").mkdir()
    (home / "logs" / "service.log").write_text(f"all well\nsomething about {alias} failed\nall well again\n")
    (home / "reports" / "days").mkdir(parents=True, exist_ok=True)
    (home / "reports" / "days" / "page.html").write_text(f"<p>see {NAME}</p>")
    (home / "prefect" / "storage").mkdir(parents=True, exist_ok=True)
    (home / "prefect" / "storage" / "result").write_text(json.dumps({"person": alias}))
    with closing(sqlite3.connect(home / "prefect" / "prefect.db")) as db:
        db.execute("CREATE TABLE artifact (id INTEGER PRIMARY KEY, data JSON)")
        db.executemany(
            "INSERT INTO artifact (data) VALUES (?)", [(f'"{alias}"',), ('"other"',), (f'"{NAME}"',)]
        )
        db.commit()
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("DELETE FROM artifact WHERE id = 3")
        db.commit()


def scan(root: Path, *needles: str) -> dict[str, set[str]]:
    """Return which needles each file below `root` holds, in its bytes or unpacked: gzip, and every column of Parquet."""
    wanted = [(needle, needle.encode()) for needle in needles]
    out: dict[str, set[str]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if content.startswith(b"PAR1"):
                content += str(pq.read_table(path).to_pydict()).encode()
            elif content.startswith(b"\x1f\x8b"):
                content += gzip.decompress(content)
            found = {needle for needle, text in wanted if text in content}
            if found:
                out[path.relative_to(root).as_posix()] = found
    return out
