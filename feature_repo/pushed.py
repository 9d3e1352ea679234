"""The view `recent` as the collector sees it: texts read, written and taken away through Feast's online store."""

import math
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from counterfoil.errors import UnavailableError
from counterfoil.settings import Settings
from feature_repo import recent
from feature_repo.light import import_feast
from feature_repo.repo import apply, open_store

if TYPE_CHECKING:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

LETTERS = {ring.letter: place for place, ring in enumerate(recent.RINGS)}
FLOAT = struct.Struct("<f")
TICK = timedelta(microseconds=1)
EARLIEST = datetime.min.replace(tzinfo=UTC)


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
        self._last = max(datetime.now(UTC), self._newest_moment())
        self._plain = serialised(self._config.entity_key_serialization_version)

    def _newest_moment(self) -> datetime:
        """Return when something was last stored: a clock that was set back since must not hide what comes."""
        latest = getattr(self._online, "latest", None)
        found: datetime | None = None if latest is None else latest(self._config, self._view)
        return EARLIEST if found is None else found

    def newest(self, keys: Sequence[str]) -> dict[str, list[bytes | None]]:
        """Return by key, per ring, the text with the highest number; None where there is none."""
        texts: dict[str, list[bytes | None]] = {key: [None] * len(recent.RINGS) for key in keys}
        if hasattr(self._online, "read_newest_texts"):
            named = {self._plain.key(key): key for key in keys}
            for name, field, value in self._online.read_newest_texts(self._config, self._view, list(named)):
                texts[named[name]][LETTERS[field[0]]] = self._plain.text(value)
            return texts
        found = self._online.online_read(self._config, self._view, [entity_key(key) for key in keys])
        return {key: _newest(values) for key, (_, values) in zip(keys, found, strict=True)}

    def write(self, texts: Sequence[tuple[str, str, bytes]]) -> None:
        """Store (key, feature, text), in one transaction."""
        self._last = now = max(datetime.now(UTC), self._last + TICK)
        if hasattr(self._online, "write_texts"):
            name, value = self._plain.key, self._plain.value
            rows = [(name(key), field, value(text)) for key, field, text in texts]
            self._online.write_texts(self._config, self._view, rows, now)
        else:
            self._online.online_write_batch(self._config, self._view, list(_rows(texts, now)), None)

    def forget(self, keys: Sequence[str]) -> None:
        """Take away what is stored under keys."""
        from feature_repo.erase import erase_keys

        erase_keys(self._online, self._config, [self._view], keys)

    def sweep(self, before_us: int) -> int:
        """Take away what was last written before a moment; return how many. Redis is left as it is."""
        if not hasattr(self._online, "expire"):
            return 0
        return int(
            self._online.expire(self._config, self._view, datetime.fromtimestamp(before_us / 1e6, UTC))
        )


class Serialised:
    """Feast's keys and values as bytes, without an object of each: that is most of what a push costs.

    A serialised key of a text is the same for all texts of one length but for the text itself, and a value that is a text is a
    tag, a length and the text (https://protobuf.dev/programming-guides/encoding).
    """

    def __init__(self, version: int) -> None:
        from feast.protos.feast.types.Value_pb2 import Value

        self._version = version
        self._around: dict[int, tuple[bytes, bytes]] = {}
        fields = Value.DESCRIPTOR.fields_by_name
        self._tag = bytes([fields["string_val"].number << 3 | 2])
        self._float = bytes([fields["float_val"].number << 3 | 5])

    def key(self, key: str) -> bytes:
        """Return the bytes of a key."""
        text = key.encode()
        around = self._around.get(len(text)) or self._learn(len(text))
        return text.join(around)

    def value(self, text: bytes) -> bytes:
        """Return the bytes of a value that is a text in UTF-8."""
        return b"".join((self._tag, _varint(len(text)), text))

    def text(self, value: bytes) -> bytes:
        """Return the text that a value holds."""
        place = 1
        while value[place] & 0x80:
            place += 1
        return value[place + 1 :]

    def number(self, value: bytes) -> float:
        """Return the float32 that a value holds; NaN where it holds none."""
        number: float = FLOAT.unpack_from(value, 1)[0] if value[:1] == self._float else math.nan
        return number

    def _learn(self, length: int) -> tuple[bytes, bytes]:
        from feast.infra.key_encoding_utils import serialize_entity_key

        mark = "\x01" * length
        whole = serialize_entity_key(entity_key(mark), entity_key_serialization_version=self._version)
        before, _, after = whole.rpartition(mark.encode())
        self._around[length] = before, after
        return before, after


@lru_cache(8)
def serialised(version: int) -> Serialised:
    """Return the one of this version of Feast's keys: what it learned of them serves all."""
    return Serialised(version)


@lru_cache(4096)  # lengths come again and again
def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def entity_key(key: str) -> "EntityKey":
    """Return Feast's key of a pseudonym."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=["person"], entity_values=[Value(string_val=key)])


def _rows(texts: Sequence[tuple[str, str, bytes]], now: datetime) -> Iterator[Any]:
    from feast.protos.feast.types.Value_pb2 import Value

    by_key: dict[str, dict[str, Value]] = {}
    for key, field, text in texts:
        by_key.setdefault(key, {})[field] = Value(string_val=text.decode())
    for key, told in by_key.items():
        yield entity_key(key), told, now, now


def _newest(values: Any) -> list[bytes | None]:
    texts = [(field[0], one.string_val.encode()) for field, one in (values or {}).items() if one.string_val]
    return [
        max((text for letter, text in texts if letter == ring.letter), key=recent.number_of, default=None)
        for ring in recent.RINGS
    ]
