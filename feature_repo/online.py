"""The online side: the newest rows of the people written to the online store, one person read from it. No transform here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from counterfoil.errors import InputError, UnavailableError
from counterfoil.settings import Settings
from feature_repo.build import partition, stamp
from feature_repo.light import import_feast
from feature_repo.repo import apply, open_store
from feature_repo.transforms import PERSON_FEATURES

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Value

__all__ = ["OnlineFeatures", "PersonView", "apply", "materialise"]

BATCH_PEOPLE = 500
VIEW = "person"
NAN = float("nan")


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


def materialise(settings: Settings, as_of: datetime) -> int:
    """Write the people's rows of the partition at `as_of` to the online store and return their number.

    Serving goes on: no state of the view is touched and readers wait for nothing. Newer rows stay; a partition that was built
    again after late events is written again. Raises InputError when there is no such partition.
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
        store.write_to_online_store(VIEW, batch.to_pandas())
        rows += len(batch)
    return rows


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
        self._config = store.config
        self._view = view
        self._ttl = view.ttl or timedelta.max
        self._provider = get_provider(store.config)

    def person(self, person_id: str, now: datetime) -> PersonView:
        """Return what is known of this person at `now`. UnavailableError when the online store is gone or broken."""
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        key = EntityKey(join_keys=[VIEW], entity_values=[Value(string_val=person_id)])
        try:
            [(event_time, values)] = self._provider.online_read(self._config, self._view, [key])
        except Exception as fault:  # each store has errors of its own
            raise UnavailableError(
                f"the online store does not answer ({fault}); materialise features again"
            ) from fault
        if event_time is None or values is None or is_blank(values):
            return _empty()
        if event_time > now or now - event_time > self._ttl:
            return _empty(event_time, expired=event_time <= now)
        return _decode(values, event_time)


def is_blank(values: "Mapping[str, Value]") -> bool:
    """Say whether a row holds nothing: what Redis answers for a key that it does not have, with the moment 1970."""
    return all(value.WhichOneof("val") is None for value in values.values())


def _empty(event_time: datetime | None = None, *, expired: bool = False) -> PersonView:
    return PersonView(
        features=dict.fromkeys(PERSON_FEATURES, NAN),
        history_items=(),
        history_times_us=np.array([], np.int64),
        history_quantities=np.array([], np.float32),
        event_time=event_time,
        expired=expired,
    )


def _decode(values: "dict[str, Value]", event_time: datetime) -> PersonView:
    return PersonView(
        features={name: _scalar(values.get(name)) for name in PERSON_FEATURES},
        history_items=tuple(values["history_items"].string_list_val.val),
        history_times_us=np.array(values["history_times"].int64_list_val.val, np.int64),
        history_quantities=np.array(values["history_quantities"].float_list_val.val, np.float32),
        category_affinity=dict(
            zip(
                values["affinity_categories"].string_list_val.val,
                values["affinity_shares"].float_list_val.val,
                strict=True,
            )
        ),
        event_time=event_time,
    )


def _scalar(value: "Value | None") -> float:
    return value.float_val if value is not None and value.HasField("float_val") else NAN
