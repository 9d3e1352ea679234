"""The online side: the newest rows of the people written to the online store, one person read from it. No transform here."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from counterfoil.errors import InputError, UnavailableError
from counterfoil.settings import Settings
from feature_repo import recent
from feature_repo.build import partition, stamp
from feature_repo.light import import_feast
from feature_repo.pushed import Serialised, entity_key, serialised
from feature_repo.recent import NOTHING, RecentView
from feature_repo.repo import apply, open_store
from feature_repo.transforms import PERSON_FEATURES

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore
    from feast.protos.feast.types.Value_pb2 import Value

__all__ = ["OnlineFeatures", "PersonView", "apply", "materialise", "stands"]

BATCH_PEOPLE = 500
VIEW = "person"
NAN = float("nan")
LISTS = ("history_items", "history_times", "history_quantities", "affinity_categories", "affinity_shares")
SAMPLE = 20  # people by whom it is told whether a store was filled
LOOK_SECONDS = 1.0  # until a view that was not known is looked for again
Stored = tuple[datetime | None, Mapping[str, bytes] | None]  # values serialised, as Feast stores them


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonView:
    """What is known of one person: features by name (NaN: absent) and the history, oldest first, in parallel arrays.

    An unknown person has an empty view. So has one whose row is older than its time to live (`expired`) or younger than the
    question: then `event_time` still tells which row was refused.
    """

    features: dict[str, float]
    history_items: tuple[str, ...]
    history_times_us: np.ndarray  # int64
    history_quantities: np.ndarray  # float32
    category_affinity: dict[str, float] = field(default_factory=dict)
    event_time: datetime | None = None
    expired: bool = False
    recent: RecentView = NOTHING


def materialise(settings: Settings, as_of: datetime) -> int:
    """Write the people's rows of the partition at `as_of` to the online store and return their number.

    Serving goes on: no state of the view is touched and readers wait for nothing. Newer rows stay; a partition that was built
    again after late events is written again. Raises InputError when there is no such partition, UnavailableError when the store
    does not take them.
    """
    import pyarrow.parquet as pq

    path = partition(settings.features, VIEW, as_of)
    if not path.is_file():
        raise InputError(
            f"no features were built for {stamp(as_of)}; call feature_repo.build.build for it first"
        )
    store = open_store(settings)
    rows = 0
    for batch in pq.ParquetFile(path).iter_batches(BATCH_PEOPLE):
        _write(store, batch.to_pandas())
        rows += len(batch)
    return rows


def _write(store: "FeatureStore", people: "pd.DataFrame") -> None:
    from redis import RedisError

    try:
        store.write_to_online_store(VIEW, people)
    except (OSError, sqlite3.Error, RedisError) as fault:
        raise UnavailableError(
            f"the online store takes no rows ({fault}); mend it, then run again"
        ) from fault


def stands(settings: Settings) -> bool:
    """Say whether the online store has the row of anybody whose features were built last; of nobody's it was emptied, or is new.

    UnavailableError when store or registry do not answer.
    """
    import pyarrow.parquet as pq

    paths = sorted((settings.features / VIEW).glob("as_of=*.parquet"))
    if not paths:
        return False
    people = pq.read_table(paths[-1], columns=["person"])["person"]
    online, step = OnlineFeatures(settings), max(1, len(people) // SAMPLE)
    return any(online.knows(people[row].as_py()) for row in range(0, len(people), step))


class OnlineFeatures:
    """One person's row, read through Feast's online store by the definition in Feast's registry.

    The registry is read once, when this is made: `FeatureStore.get_online_features` would ask it, and pack the answer, each time.
    Raises UnavailableError when registry or online store do not answer.
    """

    def __init__(self, settings: Settings) -> None:
        import_feast()
        from feast.infra.provider import get_provider

        try:
            store = open_store(settings)
            view = store.get_feature_view(VIEW)
        except Exception as fault:
            raise UnavailableError(
                f"the feature registry in {settings.features} does not answer ({fault}); run the use case once"
            ) from fault
        self._config, self._store = store.config, store
        self._view = view
        self._ttl = view.ttl or timedelta.max
        self._online: Any = get_provider(store.config).online_store
        self._plain = serialised(store.config.entity_key_serialization_version)
        self._recent: Any = None
        self._look_at = 0.0

    @property
    def local(self) -> bool:
        """Whether the store is a file on this machine, whose reads wait for nobody longer than it allows."""
        return bool(getattr(self._online, "local", False))

    def person(self, person_id: str | None, now: datetime, session: str | None = None) -> PersonView:
        """Return what is known at `now` of a person, and of what happened since, also in a session; all in one question.

        Of nobody (None) only the session is read. UnavailableError when the online store is gone or broken.
        """
        happened = self._happened()
        asked = [(self._view, person_id)] if person_id is not None else []
        keys = [
            key for key in dict.fromkeys((person_id, session)) if key is not None and happened is not None
        ]
        asked += [(happened, key) for key in keys]
        stored = self._stored(asked)
        view = _empty() if person_id is None else self._row(stored.pop(0), now)
        own = 0 if person_id is None or happened is None else 1
        mine, others = _events(stored[:own], self._plain), _events(stored[own:], self._plain)
        return replace(view, recent=recent.view(mine, others, now, session))

    def knows(self, person_id: str) -> bool:
        """Say whether there is a row of a person, however old. UnavailableError when the online store is gone or broken."""
        return not is_blank(self._stored([(self._view, person_id)])[0][1] or {})

    def _stored(self, asked: "list[tuple[Any, str]]") -> list[Stored]:
        try:
            return together(self._online, self._config, asked)
        except Exception as fault:  # each store has errors of its own
            raise UnavailableError(
                f"the online store does not answer ({fault}); materialise features again"
            ) from fault

    def _row(self, stored: Stored, now: datetime) -> PersonView:
        event_time, values = stored
        if event_time is None or values is None or is_blank(values):
            return _empty()
        if event_time > now or now - event_time > self._ttl:
            return _empty(event_time, expired=event_time <= now)
        return _decode(values, event_time, self._plain)

    def _happened(self) -> Any:
        """Return the view of what happened since; None while Feast knows none, as in a home from before there was one."""
        if self._recent is None and time.monotonic() >= self._look_at:
            from feast.errors import FeatureViewNotFoundException

            self._look_at = time.monotonic() + LOOK_SECONDS
            try:
                self._recent = self._store.get_feature_view(recent.VIEW)
            except FeatureViewNotFoundException:
                return None
        return self._recent


def together(online: Any, config: Any, asked: "list[tuple[Any, str]]") -> list[Stored]:
    """Return event time and values of each key in its view, by one query, or one round trip to Redis."""
    if hasattr(online, "online_read_views"):
        key_bytes = serialised(config.entity_key_serialization_version).key
        plain = [(view, key_bytes(key)) for view, key in asked]
        found: list[Stored] = online.online_read_views(config, plain) if plain else []
        return found
    return [
        (time, None if values is None else {name: one.SerializeToString() for name, one in values.items()})
        for time, values in _parsed(online, config, [(view, entity_key(key)) for view, key in asked])
    ]


def _parsed(
    online: Any, config: Any, keys: list[tuple[Any, Any]]
) -> "list[tuple[datetime | None, Mapping[str, Value] | None]]":
    if not hasattr(online, "_read_hash_fields"):
        return [online.online_read(config, view, [key])[0] for view, key in keys]
    # Feast's Redis store reads one view at a time; these are the steps of its `online_read`, with all views in one pipeline.
    fields = [online._generate_hset_keys_for_features(view) for view, _ in keys]
    hashes = online._generate_redis_keys_for_entities(config, [key for _, key in keys])
    commands = [(name, wanted) for name, (_, wanted) in zip(hashes, fields, strict=True)]
    values = online._read_hash_fields(config, commands) if commands else []
    return [
        online._get_features_for_entity(value, view.name, names)
        for value, (view, _), (names, _) in zip(values, keys, fields, strict=True)
    ]


def _events(stored: Sequence[Stored], plain: Serialised) -> list[recent.Event]:
    """Return the events of rows of the view of what happened since."""
    texts = (plain.text(value) for _, values in stored for value in (values or {}).values() if value)
    return recent.parse(text.decode() for text in texts if text)


def is_blank(values: Mapping[str, bytes]) -> bool:
    """Say whether a row holds nothing: what Redis answers for a key that it does not have, with the moment 1970."""
    return not any(values.values())


def _empty(event_time: datetime | None = None, *, expired: bool = False) -> PersonView:
    return PersonView(
        features=dict.fromkeys(PERSON_FEATURES, NAN),
        history_items=(),
        history_times_us=np.array([], np.int64),
        history_quantities=np.array([], np.float32),
        event_time=event_time,
        expired=expired,
    )


def _decode(values: Mapping[str, bytes], event_time: datetime, plain: Serialised) -> PersonView:
    from feast.protos.feast.types.Value_pb2 import Value

    lists = {name: Value.FromString(values[name]) for name in LISTS}
    return PersonView(
        features={name: plain.number(values.get(name, b"")) for name in PERSON_FEATURES},
        history_items=tuple(lists["history_items"].string_list_val.val),
        history_times_us=np.array(lists["history_times"].int64_list_val.val, np.int64),
        history_quantities=np.array(lists["history_quantities"].float_list_val.val, np.float32),
        category_affinity=dict(
            zip(
                lists["affinity_categories"].string_list_val.val,
                lists["affinity_shares"].float_list_val.val,
                strict=True,
            )
        ),
        event_time=event_time,
    )
