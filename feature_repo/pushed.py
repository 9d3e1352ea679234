"""The view `recent` as the collector sees it: texts read, written and taken away through Feast's online store."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from counterfoil.errors import UnavailableError
from counterfoil.settings import Settings
from feature_repo import recent
from feature_repo.light import import_feast
from feature_repo.repo import apply, open_store

if TYPE_CHECKING:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

TICK = timedelta(microseconds=1)


class RecentStore:
    """Texts by key. What was written later wins: each write has a later moment than the one before it."""

    def __init__(self, settings: Settings) -> None:
        """Open the store; the view is made known to Feast where it is not. UnavailableError when that cannot be."""
        import_feast()
        from feast.errors import FeatureViewNotFoundException
        from feast.infra.provider import get_provider

        try:
            store = open_store(settings)
            try:
                view = store.get_feature_view(recent.VIEW)
            except FeatureViewNotFoundException:
                store = apply(settings)
                view = store.get_feature_view(recent.VIEW)
        except Exception as fault:  # each registry has errors of its own
            raise UnavailableError(f"the feature registry does not answer ({fault})") from fault
        self._config, self._view = store.config, view
        self._online: Any = get_provider(store.config).online_store
        self._last = datetime.now(UTC)

    def read(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the texts that are stored under keys."""
        found = self._online.online_read(self._config, self._view, [entity_key(key) for key in keys])
        return dict(_texts(keys, found))

    def write(self, texts: Mapping[str, str]) -> None:
        """Store texts under keys, in one transaction."""
        from feast.protos.feast.types.Value_pb2 import Value

        self._last = now = max(datetime.now(UTC), self._last + TICK)
        rows = [
            (entity_key(key), {recent.FEATURE: Value(string_val=text)}, now, now)
            for key, text in texts.items()
        ]
        self._online.online_write_batch(self._config, self._view, rows, None)

    def forget(self, keys: Sequence[str]) -> None:
        """Take away what is stored under keys."""
        from feature_repo.erase import erase_key

        for key in keys:
            erase_key(self._online, self._config, [self._view], key)

    def sweep(self, before_us: int) -> int:
        """Take away what was last written before a moment; return how many. Redis is left as it is."""
        if not hasattr(self._online, "expire"):
            return 0
        return int(
            self._online.expire(self._config, self._view, datetime.fromtimestamp(before_us / 1e6, UTC))
        )


def entity_key(key: str) -> "EntityKey":
    """Return Feast's key of a pseudonym."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=["person"], entity_values=[Value(string_val=key)])


def _texts(keys: Sequence[str], found: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for key, (_, values) in zip(keys, found, strict=True):
        if values is not None and (value := values.get(recent.FEATURE)) is not None and value.string_val:
            yield key, value.string_val
