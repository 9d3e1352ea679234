"""A person taken out of the features: of the partitions that Feast reads, and of the online store."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterfoil.errors import UnavailableError
from counterfoil.settings import Settings
from feature_repo import recent
from feature_repo.build import replacing
from feature_repo.light import import_feast
from feature_repo.pushed import entity_key

if TYPE_CHECKING:
    from feast import FeatureStore

VIEWS = ("person", "pair")


def offline_rows(features: Path, person: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (view and moment, row) of a pseudonym in the partitions."""
    for path in _partitions(features):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                for row in table.filter(pc.equal(table["person"], person)).to_pylist():
                    yield f"{path.parent.name}/{path.stem}", row


def erase_offline(features: Path, person: str) -> int:
    """Take a pseudonym's rows out of the partitions, each in one rename; return how many rows went.

    Rows of others stay as they are, in their order. Half-written partitions, left by a build that was killed, go as well.
    """
    gone = 0
    for view in VIEWS:
        for half in (features / view).glob(".as_of=*"):
            half.unlink()
    for path in _partitions(features):
        if _has(path, person):
            # what a partition was built from is not what has landed any more: the next build makes it anew
            (features / f"{path.stem}.json").unlink(missing_ok=True)
            gone += _rewrite(path, person)
    return gone


def online_row(settings: Settings, person: str) -> dict[str, Any] | None:
    """Return what the online store holds under a pseudonym, however old; None when that is nothing.

    UnavailableError when the store does not answer.
    """
    store = _store(settings)
    if store is None:
        return None
    try:
        [(moment, values)] = _provider(store).online_read(store.config, _view(store), [entity_key(person)])
    except Exception as fault:
        raise _gone(fault) from fault
    if moment is None or values is None or not any(value.WhichOneof("val") for value in values.values()):
        return None
    said = {name: _plain(value) for name, value in sorted(values.items())}
    return {"person": person, "event_timestamp": moment, **said}


def erase_online(settings: Settings, person: str) -> int:
    """Delete a pseudonym's row from the online store; return how many values went. UnavailableError when it does not answer.

    In Redis the key of the person is deleted; what Redis keeps in snapshots and logs of its own is its operator's to renew.
    """
    store = _store(settings)
    if store is None:
        return 0
    try:
        return erase_keys(_provider(store).online_store, store.config, [_view(store)], [person])
    except Exception as fault:
        raise _gone(fault) from fault


def recent_rows(settings: Settings, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what the online store holds of what happened lately under pseudonyms of a person and of sessions.

    UnavailableError when the store does not answer.
    """
    store = _store(settings)
    view = None if store is None else _recent(store)
    if store is None or view is None:
        return
    try:
        found = _provider(store).online_read(store.config, view, [entity_key(key) for key in keys])
    except Exception as fault:
        raise _gone(fault) from fault
    for key, (_, values) in zip(keys, found, strict=True):
        texts = [value.string_val for value in (values or {}).values() if value.string_val]
        for event in recent.parse(texts):
            yield {"key": key, **dict(zip(recent.COLUMNS, event, strict=True))}


def erase_recent(settings: Settings, keys: Sequence[str]) -> int:
    """Delete what happened lately under these keys; as `erase_online`."""
    store = _store(settings)
    view = None if store is None else _recent(store)
    if store is None or view is None:
        return 0
    try:
        return erase_keys(_provider(store).online_store, store.config, [view], keys)
    except Exception as fault:
        raise _gone(fault) from fault


def erase_keys(online: Any, config: Any, views: Iterable[Any], keys: Sequence[str]) -> int:
    """Delete what lies under keys in these views; return how many values went. In Redis views share a key, and all of it goes."""
    if hasattr(online, "erase"):
        return sum(int(online.erase(config, view, *map(entity_key, keys))) for view in views)
    from feast.infra.online_stores.redis import _redis_key

    version, client, values = (
        config.entity_key_serialization_version,
        online._get_client(config.online_store),
        0,
    )
    for key in keys:
        name = _redis_key(config.project, entity_key(key), entity_key_serialization_version=version)
        values += int(client.hlen(name))
        client.delete(name)
    return values


def _recent(store: "FeatureStore") -> Any:
    """Return the view of what happened lately; None in a home from before there was one."""
    return next((view for view in store.list_feature_views() if view.name == recent.VIEW), None)


def _partitions(features: Path) -> list[Path]:
    return [path for view in VIEWS for path in sorted((features / view).glob("as_of=*.parquet"))]


def _has(path: Path, person: str) -> bool:
    with pq.ParquetFile(path) as file:
        batches = file.iter_batches(columns=["person"])
        return any(pc.any(pc.equal(batch.column(0), person)).as_py() for batch in batches)


def _rewrite(path: Path, person: str) -> int:
    gone = 0
    with (
        pq.ParquetFile(path) as file,
        replacing(path) as fresh,
        pq.ParquetWriter(fresh, file.schema_arrow, compression="zstd") as writer,
    ):
        for group in range(file.num_row_groups):
            table: pa.Table = file.read_row_group(group)
            kept = table.filter(pc.not_equal(table["person"], person))
            gone += len(table) - len(kept)
            writer.write_table(kept)
    return gone


def _store(settings: Settings) -> "FeatureStore | None":
    """Return the feature store; None when nothing was ever materialised here."""
    from feature_repo.repo import open_store

    if not (settings.features / "registry.sqlite").is_file():
        return None
    import_feast()
    return open_store(settings)


def _provider(store: "FeatureStore") -> Any:
    from feast.infra.provider import get_provider

    return get_provider(store.config)


def _view(store: "FeatureStore") -> Any:
    return store.get_feature_view("person")


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("val")
    held: Any = None if kind is None else getattr(value, kind)
    return list(held.val) if hasattr(held, "val") and not isinstance(held, str | bytes) else held


def _gone(fault: Exception) -> UnavailableError:
    return UnavailableError(
        f"the online store does not answer ({fault}); see that it runs, then run this again"
    )
