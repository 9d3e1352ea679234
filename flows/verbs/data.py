"""What the verbs do with data: what has landed, the verdicts on it, the dataset version made of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import orjson

from counterfoil import canonical
from counterfoil.catalog import Made
from counterfoil.errors import ConflictError, GateError
from counterfoil.types import Candidate, DataPolicy, Dataset, FeatureSpec, Noun, Verdict
from flows.cost import measured
from flows.place import Place, code_version
from flows.pure import emptied

if TYPE_CHECKING:
    from flows.gate import Policy


def days(place: Place, as_of: datetime) -> dict[str, str]:
    """Return the landed days before `as_of` with the SHA-256 of their files."""
    from counterfoil.landing import read_manifest

    manifest = read_manifest(place.settings)
    limit = as_of.date().isoformat()
    return {day: part.sha256 for day, part in sorted(manifest.days.items()) if day < limit}


def tables(place: Place) -> dict[str, str]:
    """Return the SHA-256 of the landed items and people."""
    from counterfoil.landing import read_manifest

    manifest = read_manifest(place.settings)
    parts = {"items": manifest.items, "people": manifest.people}
    return {name: part.sha256 for name, part in parts.items() if part is not None}


def validate(
    place: Place, days: Mapping[str, str], tables: Mapping[str, str], policy: DataPolicy | None = None
) -> Made:
    """Hold every landed day against the contract; one verdict per day, good or bad.

    `tables` says which items the events are held against: other items, other verdicts. `policy` is the use case's own, or None.
    """
    from flows.gate import validate_days

    verdicts = validate_days(place.settings.landing, days, policy=cast("Policy | None", policy))
    _report(place, "days", verdicts)
    return Made(nouns=verdicts)


def require(place: Place, verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return the verdicts when all passed. GateError when one did not, GateFault when the gate itself broke."""
    from flows import gate

    try:
        gate.require(verdicts)
    except GateError as refusal:
        raise type(refusal)(f"{refusal}; every finding is in {reports(place)}") from refusal
    return tuple(verdicts)


def believed(verdict: Noun) -> bool:
    """Say whether a remembered verdict may be believed: one of a gate that broke is found anew."""
    return not getattr(verdict, "faulted", False)


def reports(place: Place) -> Path:
    """Return the folder of the gate's reports and Data Docs."""
    return place.settings.home / "reports"


def _report(place: Place, name: str, verdicts: Sequence[Verdict]) -> None:
    """Write the pages that a person reads: our report, and Great Expectations' Data Docs."""
    from flows import gate

    gate.write_report(verdicts, reports(place) / name)
    gate.write_data_docs(verdicts, reports(place) / name / "data-docs")


def snapshot(
    place: Place,
    use_case: str,
    spec: FeatureSpec,
    as_of: datetime,
    days: Mapping[str, str],
    tables: Mapping[str, str],
    verdicts: Sequence[Verdict],
) -> Made:
    """Write a dataset version: interactions, items, people and point-in-time features as they were known at each moment."""
    from flows.snapshot import write_dataset

    folder = emptied(place.folder(use_case, "dataset"))
    with measured() as cost:
        about = write_dataset(place.settings, spec, as_of, days, folder)
        _require_same(place, as_of, days, tables)
        stored = place.store.put(folder)
    dataset = Dataset(
        use_case=use_case,
        address=stored.address,
        sha256=stored.sha256,
        as_of=as_of,
        holdout_from=about.holdout_from,
        rows=about.rows,
        people=about.people,
        items=about.items,
        first_time=about.first_time,
        last_time=about.last_time,
        feature_service=spec.service,
        verdicts=tuple(verdict.id for verdict in verdicts),
        code_version=code_version(),
        seconds=cost.seconds,
        tables=dict(tables),
    )
    return Made(nouns=(dataset,), stored=(stored,))


def _require_same(
    place: Place, as_of: datetime, expected_days: Mapping[str, str], expected_tables: Mapping[str, str]
) -> None:
    """Refuse a snapshot of bytes that the gate has not seen. ConflictError when something landed meanwhile, or was altered."""
    landing = place.settings.landing
    paths = {
        landing / "events" / f"day={day}" / "events.parquet": sha256 for day, sha256 in expected_days.items()
    }
    paths |= {landing / f"{name}.parquet": sha256 for name, sha256 in expected_tables.items()}
    now = (days(place, as_of), tables(place))
    if now != (dict(expected_days), dict(expected_tables)) or any(
        not path.is_file() or canonical.file_digest(path) != sha256 for path, sha256 in paths.items()
    ):
        raise ConflictError(
            "data landed, or was altered, while the snapshot was written; run again to take what is there now"
        )


def inspect(
    place: Place, dataset: Dataset, champion: Candidate | None, policy: DataPolicy | None = None
) -> Made:
    """Hold the whole snapshot against the contract, the days it was made of, and the data that the champion learned from.

    ConflictError when the landing does not hold these days any more.
    """
    from flows.gate import validate_snapshot

    reference = None
    if champion is not None:
        learned_from = place.catalog.get(champion.dataset)
        assert isinstance(learned_from, Dataset)
        reference = place.opened(learned_from.address, learned_from.sha256)
    folder = place.opened(dataset.address, dataset.sha256)
    if orjson.loads((folder / "dataset.json").read_bytes())["days"] != days(place, dataset.as_of):
        raise ConflictError(
            f"data landed since {dataset.id} was written, so its features cannot be held against it; run again"
        )
    verdict = validate_snapshot(
        folder,
        subject=dataset.id,
        sha256=dataset.sha256,
        as_of=dataset.as_of,
        reference=reference,
        landing=place.settings.landing,
        policy=cast("Policy | None", policy),
    )
    _report(place, "snapshot", (verdict,))
    return Made(nouns=(verdict,))
