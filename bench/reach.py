"""`make bench-reach`: how long blast-radius and lineage take over a million receipts and a hundred thousand edges.

    python -m bench.reach [--receipts 1000000] [--datasets 250] [--home FOLDER] [--times 5]

Makes a home with that many receipts, sealed as the nightly flow seals them, and datasets in the store, each with its verdicts,
models, evaluations, decision, bento, release and online rows in the catalog; then runs the commands as a person does, imports
counted.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bench import report
from counterfoil import canonical, segment, settings
from counterfoil.contracts import ITEM
from counterfoil.landing import manifest as manifests
from counterfoil.landing import origin
from counterfoil.landing.manifest import Batch, DayPart, Manifest
from counterfoil.landing.origin import DayOrigin, Origin
from counterfoil.receipts import Receipts
from counterfoil.receipts.store import SEGMENT_RECEIPTS
from counterfoil.settings import Settings
from counterfoil.types import (
    Bento,
    Candidate,
    Check,
    Dataset,
    Decision,
    Evaluation,
    Noun,
    OnlineRows,
    Receipt,
    ReceiptItem,
    Release,
    Verdict,
)
from flows.place import Place, place_of
from flows.sealing import seal

START = datetime(2024, 1, 1, tzinfo=UTC)
WINDOW, LATE_DAY, LATE_FROM = (
    365,
    300,
    125,
)  # days of a dataset; the day of the late lines, and the first dataset after them
MODELS, PEOPLE, CATALOGUE, ROWS = 12, 2_500, 5_000, 20_000
FEATURES, MANY = 40, 4_001
BATCH = "contract-0123456789abcdef"


def day_of(number: int) -> str:
    """Return a day by its number."""
    return (START + timedelta(days=number)).date().isoformat()


def sha(text: str) -> str:
    """Return a digest that stands for a file."""
    return canonical.sha256(text)


def person(number: int) -> str:
    """Return a pseudonym."""
    return f"p{number:020x}"


def landing(place: Place, days: int) -> None:
    """Say what has landed: a base, and late lines of one day."""
    base = {day_of(day): DayPart(4_000, sha(day_of(day))) for day in range(days)}
    late = day_of(LATE_DAY)
    after = sha(f"{late} with late lines")
    told = {"name": "planted", "rows_in": 1, "landed": 1, "duplicates": 0, "quarantined": 0, "reasons": {}}
    batches = tuple(
        Batch(batch=name, digest=sha(name), days=tuple(some), items=0, people=0, **told)
        for name, some in (("contract-base", base), (BATCH, (late,)))
    )
    place.settings.landing.mkdir(parents=True)
    manifest = Manifest(days={**base, late: DayPart(4_001, after)}, batches=batches)
    manifests.place(place.settings).write_bytes(manifests.encode(manifest))
    first = {
        day: DayOrigin(before=None, sha256=part.sha256, kinds={"purchase": part.rows})
        for day, part in base.items()
    }
    origin.write(place.settings, Origin(batch="contract-base", digest=sha("contract-base"), days=first))
    changed = {late: DayOrigin(before=base[late].sha256, sha256=after, kinds={"purchase": 1})}
    origin.write(place.settings, Origin(batch=BATCH, digest=sha(BATCH), days=changed))


def files_of(number: int) -> dict[str, str]:
    """Return the days of a dataset with the digests of their files."""
    days = {day_of(day): sha(day_of(day)) for day in range(number, number + WINDOW)}
    if number >= LATE_FROM and day_of(LATE_DAY) in days:
        days[day_of(LATE_DAY)] = sha(f"{day_of(LATE_DAY)} with late lines")
    return days


def dataset(place: Place, number: int, verdicts: dict[tuple[str, str], str]) -> Dataset:
    """Write a dataset into the store and record it with its verdicts."""
    folder = place.folder("bench", "dataset")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    random, days = np.random.default_rng(number), files_of(number)
    people, items = PEOPLE + number, CATALOGUE + number
    micros = np.sort(random.integers(number * 86_400, (number + WINDOW) * 86_400, ROWS)) * 1_000_000
    interactions = pa.table(
        {
            "person": pa.array(random.integers(0, people, ROWS), pa.int32()),
            "item": pa.array(random.integers(0, items, ROWS), pa.int32()),
            "time": pa.array(micros + int(START.timestamp() * 1e6), pa.int64()).cast(
                pa.timestamp("us", tz="UTC")
            ),
            "kind": ["purchase"] * ROWS,
            "quantity": np.ones(ROWS),
            "price": np.ones(ROWS),
        }
    )
    pq.write_table(interactions, folder / "interactions.parquet", compression="zstd")
    ids = [person(one) for one in range(people)]
    pq.write_table(
        pa.table({"id": ids, "segment": ["none"] * people}), folder / "people.parquet", compression="zstd"
    )
    catalogue = [{"id": f"i{one}", "title": f"item {one}", "price": 1.0} for one in range(items)]
    pq.write_table(
        pa.Table.from_pylist(catalogue, ITEM.arrow()), folder / "items.parquet", compression="zstd"
    )
    about = {
        "days": days,
        "history_kinds": ["purchase"],
        "label_kinds": ["purchase"],
        **{f"{view}_names": ["x"] for view in ("person", "item", "pair")},
    }
    (folder / "dataset.json").write_bytes(orjson.dumps(about))
    stored = place.store.put(folder)
    behind = [verdicts.get(one) or judged(place, verdicts, *one) for one in days.items()]
    as_of = START + timedelta(days=number + WINDOW)
    made = Dataset(
        use_case="bench",
        address=stored.address,
        sha256=stored.sha256,
        as_of=as_of,
        holdout_from=as_of - timedelta(days=28),
        rows=ROWS,
        people=people,
        items=items,
        first_time=START + timedelta(days=number),
        last_time=as_of,
        feature_service="recommendation_v1",
        verdicts=tuple(behind),
        code_version=f"git:{number // 50:012x} source:{number // 50:016x}",
    )
    place.catalog.record("snapshot", made.id, [made], [("verdict", one) for one in behind], [stored], 1.0)
    return made


def judged(place: Place, verdicts: dict[tuple[str, str], str], day: str, sha256: str) -> str:
    """Record the verdict on a day's file, with as many checks as the gate has; return its id."""
    checks = tuple(
        Check(
            expectation=f"expectation {one}", column="price", severity="critical", success=True, observed="so"
        )
        for one in range(96)
    )
    made = Verdict(
        subject=f"day:{day}", sha256=sha256, rows=4_000, passed=True, checks=checks, suite="bench#96@0"
    )
    place.catalog.record("validate", made.id, [made], [], [], 1.0)
    verdicts[day, sha256] = made.id
    return verdicts[day, sha256]


def turn(place: Place, data: Dataset, champion: Candidate | None, epoch: int) -> tuple[Candidate, Release]:
    """Record what a turn of the loop makes of a dataset."""

    def record(verb: str, noun: Noun, *parents: Noun) -> None:
        place.catalog.record(verb, noun.id, [noun], [(one.kind, one.id) for one in parents], [], 1.0)

    code = data.code_version
    fitted, measured = [], []
    for number in range(MODELS):
        one = Candidate(
            use_case="bench",
            family=f"family {number}",
            config={},
            seed=0,
            dataset=data.id,
            address=f"{data.id}-{number}",
            sha256=sha(f"{data.id}-{number}"),
            code_version=code,
        )
        record("fit", one, data)
        fitted.append(one)
    for one in [*fitted, *([champion] if champion else [])]:
        scored = Evaluation(
            use_case="bench",
            candidate=one.id,
            family=one.family,
            seed=0,
            dataset=data.id,
            address=one.address,
            sha256=one.sha256,
            units=1,
            metrics={},
            slices={},
            code_version=code,
        )
        record("evaluate", scored, data, one)
        measured.append(scored)
    decision = Decision(
        use_case="bench",
        dataset=data.id,
        verb="promote",
        winner=fitted[0].id,
        champion=champion.id if champion else None,
        evaluations=tuple(one.id for one in measured),
        comparisons=(),
        sentences=(),
        gate="none",
        code_version=code,
    )
    record("decide", decision, data, *measured)
    bento = Bento(
        use_case="bench",
        candidate=fitted[0].id,
        dataset=data.id,
        tag=f"bench:{epoch}",
        sha256=sha(f"bento {epoch}"),
        feature_service="recommendation_v1",
        code_version=code,
    )
    record("package", bento, data, decision)
    online = OnlineRows(
        use_case="bench",
        dataset=data.id,
        as_of=data.as_of,
        feature_service="recommendation_v1",
        sha256=sha(f"online {epoch}"),
        rows=data.people,
    )
    record("materialise", online, data)
    release = Release(
        use_case="bench",
        decision=decision.id,
        bento=bento.id,
        tag=bento.tag,
        epoch=epoch,
        valid_from=START + timedelta(days=400 + epoch),
    )
    record("release", release, decision, bento)
    return fitted[0], release


def answers(place: Place, releases: list[tuple[Release, datetime]], count: int) -> Iterator[int]:
    """Write receipts into open segments as services do, one release after another.

    Bodies are dealt from a pile of MANY that were encoded as a service encodes its answers; id, person and release are each
    receipt's own.
    """
    receipts, random = Receipts(place.settings.receipts), np.random.default_rng(1)
    pile = [canonical.encode(receipt(random)) for _ in range(MANY)]
    written = 0
    while written < count:
        release, as_of = releases[written * len(releases) // count]
        at = release.valid_from + timedelta(seconds=written % 80_000)
        own = {
            b'"release-0"': release.id,
            b'"bench:0"': release.tag,
            b'"2000-01-01T00:00:00Z"': canonical.utc_text(at),
            b'"2000-01-02T00:00:00Z"': canonical.utc_text(as_of),
        }
        lines = []
        for number in range(min(SEGMENT_RECEIPTS, count - written)):
            body = pile[(written + number * 7) % MANY]
            for old, new in own.items():
                body = body.replace(old, b'"%b"' % new.encode())
            name = receipts.new_id(at)
            body = body.replace(b'"receipt-0"', b'"%b"' % name.encode())
            body = body.replace(b'"nobody"', b'"%b"' % person(int(random.integers(0, 100_000))).encode())
            lines.append((name.removeprefix("receipt-").rpartition("-")[0], segment.line(body)))
        for name in {name for name, _ in lines}:
            path = place.settings.receipts / f"{name[:4]}-{name[4:6]}-{name[6:8]}" / f"{name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(b"".join(line for own_name, line in lines if own_name == name))
        written += len(lines)
        yield written


def receipt(random: np.random.Generator) -> Receipt:
    """Return the body of an answer with ten items and forty features."""
    values = random.random(FEATURES + 10).round(6).tolist()
    items = random.zipf(1.3, 10) % CATALOGUE
    return Receipt(
        id="receipt-0",
        time=datetime(2000, 1, 1, tzinfo=UTC),
        use_case="bench",
        release="release-0",
        bento="bench:0",
        epoch=1,
        person="nobody",
        request={"n": 10, "filters": {"in_stock": True}},
        items=tuple(
            ReceiptItem(
                item=f"i{item}",
                score=values[FEATURES + place],
                sources=("repurchase",),
                reasons=("you bought this often",),
            )
            for place, item in enumerate(items.tolist())
        ),
        rules=("only what is in stock",),
        features={"person": {f"feature_{one}": values[one] for one in range(FEATURES)}},
        feature_time=datetime(2000, 1, 2, tzinfo=UTC),
        degraded=(),
        stages_ms={"model": 1.25},
    )


def make(home: Path, receipts: int, datasets: int) -> None:
    """Make the home."""
    home.mkdir(parents=True)
    place = place_of(Settings(home=home))
    landing(place, datasets + WINDOW)
    verdicts: dict[tuple[str, str], str] = {}
    champion, releases = None, []
    for number in range(datasets):
        data = dataset(place, number, verdicts)
        champion, release = turn(place, data, champion, number + 1)
        releases.append((release, data.as_of))
        _say(f"{number + 1} datasets")
    for written in answers(place, releases, receipts):
        _say(f"{written} receipts")
    done = seal(place, lambda what, count: _say(f"{count} sealed"), quiet_seconds=0)
    _say(f"sealed {done['receipts']} receipts in {done['segments']} segments\n")
    place.catalog.engine.dispose()


def questions(home: Path) -> dict[str, list[str]]:
    """Return what is asked, by name."""
    place = place_of(Settings(home=home))
    middle = place.catalog.releases("bench")[len(place.catalog.releases("bench")) // 2]["id"]
    release = place.catalog.get(middle)
    assert isinstance(release, Release)
    bento = place.catalog.get(release.bento)
    assert isinstance(bento, Bento)
    newest = place.catalog.find(Dataset, limit=1)[0]
    ask = {
        "batch": [BATCH],
        "day": [day_of(LATE_DAY)],
        "range": [f"{day_of(LATE_DAY - 2)}T10:00", f"{day_of(LATE_DAY)}T15:00"],
        "person": [],
        "item": [],
        "popular item": ["item:i1"],
        "view": ["view:person"],
        "code": [newest.code_version],
        "dataset": [bento.dataset],
        "candidate": [bento.candidate],
        "release": [middle],
    }
    place.catalog.engine.dispose()
    ask["person"], ask["item"] = [f"person:{person(newest.people - 1)}"], [f"item:i{newest.items - 1}"]
    return {
        **{f"blast-radius {name}": ["blast-radius", *words] for name, words in ask.items()},
        "lineage release": ["lineage", middle],
        "lineage bento": ["lineage", bento.id],
    }


def ask(home: Path, words: list[str]) -> tuple[float, float, dict[str, Any]]:
    """Return the seconds that a command took by the clock and of the processors, and what it said."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [str(Path(sys.executable).with_name("counterfoil")), *words, "--json"]
    done = subprocess.run(
        command,
        env={**os.environ, **settings.QUIET, "COUNTERFOIL_HOME": str(home)},
        capture_output=True,
        check=True,
    )
    took, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, cpu, orjson.loads(done.stdout)


def main() -> int:
    """Make the home when it is not there, ask all of it several times, leave what was seen; 1 when one took too long."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--receipts", type=int, default=1_000_000)
    options.add_argument("--datasets", type=int, default=250)
    options.add_argument("--home", type=Path, default=None)
    options.add_argument("--times", type=int, default=5)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = given.home or Path(temporary) / "home"
        if not home.exists():
            make(home, given.receipts, given.datasets)
        found = {}
        for name, words in questions(home).items():
            seen = [ask(home, words) for _ in range(given.times)]
            clock, cpu = (statistics.median(one[column] for one in seen) for column in (0, 1))
            said = seen[0][2]
            found[name] = {
                "seconds": clock,
                "cpu_seconds": cpu,
                **{kind: said[kind] for kind in ("answers", "people") if kind in said},
                **{kind: len(said[kind]) for kind in ("datasets", "releases", "chain") if kind in said},
            }
            sys.stdout.write(f"{name:<24} {clock:6.2f} s  {cpu:6.2f} CPU s  {found[name]}\n")
        report.write(
            {"receipts": given.receipts, "datasets": given.datasets, "reach": found}, prefix="reach-"
        )
    return (
        1
        if any(one["seconds"] > (1.0 if name.startswith("lineage") else 2.0) for name, one in found.items())
        else 0
    )


def _say(text: str) -> None:
    sys.stderr.write(f"\r{text:<40}")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
