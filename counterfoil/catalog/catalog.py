"""What is known: nouns by id, edges both ways, stored versions, what was done, who serves since when.

Reads are open to everybody. Writes go through `record` (called by the recording seam alone) and `release`.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from counterfoil import canonical, ledger
from counterfoil.catalog import codec, tables
from counterfoil.catalog.entry import Written, begin, name_key, said_of_noun, said_of_stored
from counterfoil.catalog.migrate import migrate
from counterfoil.catalog.switch import switch
from counterfoil.errors import ConfigError, IntegrityError, UnavailableError, UnknownError
from counterfoil.ledger import Notary
from counterfoil.store import Stored
from counterfoil.types import Noun, Release

NounType = TypeVar("NounType", bound=Noun)


class Catalog:
    """The catalog behind one database URL; its tables are made or brought up to date on opening.

    Whatever is written is an entry of the ledger in the same transaction; the `notary` signs the ledger's head after it.
    """

    def __init__(self, url: str, notary: Notary | None = None):
        self.notary = notary
        self._blocks, self._late = 0, False
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        try:
            self.engine = tables.engine_for(url)
            self.reader = tables.reader_of(self.engine)
            migrate(self.engine)
            self._take_over()
        except (SQLAlchemyError, ImportError) as fault:
            raise UnavailableError(
                f"the catalog cannot be opened ({str(fault).splitlines()[0]}); check COUNTERFOIL_CATALOG_URL"
            ) from fault

    def get(self, noun_id: str) -> Noun:
        """Return a noun by its id. UnknownError when there is none."""
        with self.reader.connect() as connection:
            row = connection.execute(
                select(tables.NOUN.c.kind, tables.NOUN.c.body).where(tables.NOUN.c.id == noun_id)
            ).one_or_none()
        if row is None:
            raise UnknownError(
                f"the catalog knows no {noun_id!r}; list what there is with `counterfoil models`"
            )
        return codec.decode(row.kind, row.body)

    def find(self, cls: type[NounType], use_case: str | None = None, limit: int = 1000) -> list[NounType]:
        """Return nouns of one kind, newest first."""
        query = select(tables.NOUN.c.body).where(tables.NOUN.c.kind == cls.kind)
        if use_case is not None:
            query = query.where(tables.NOUN.c.use_case == use_case)
        query = query.order_by(tables.NOUN.c.recorded_at.desc(), tables.NOUN.c.id).limit(limit)
        with self.reader.connect() as connection:
            return [codec.decode(cls.kind, row.body) for row in connection.execute(query)]  # type: ignore[misc]

    def recorded(self, cls: type[NounType], use_case: str | None = None) -> list[tuple[NounType, datetime]]:
        """Return all nouns of one kind with the moments at which they were recorded, oldest first."""
        query = select(tables.NOUN.c.body, tables.NOUN.c.recorded_at).where(tables.NOUN.c.kind == cls.kind)
        if use_case is not None:
            query = query.where(tables.NOUN.c.use_case == use_case)
        query = query.order_by(tables.NOUN.c.recorded_at, tables.NOUN.c.id)
        with self.reader.connect() as connection:
            rows = connection.execute(query).all()
        return [(codec.decode(cls.kind, row.body), row.recorded_at) for row in rows]  # type: ignore[misc]

    def parents(self, noun_id: str) -> list[tuple[str, str]]:
        """Return (role, id) of what this noun was made from."""
        return self._edges(tables.EDGE.c.child, tables.EDGE.c.parent, noun_id)

    def children(self, noun_id: str) -> list[tuple[str, str]]:
        """Return (role, id) of what was made from this noun."""
        return self._edges(tables.EDGE.c.parent, tables.EDGE.c.child, noun_id)

    def stored(self, address: str) -> Stored:
        """Return the SHA-256 manifest of a stored folder. UnknownError when none was recorded."""
        with self.reader.connect() as connection:
            row = connection.execute(
                select(tables.STORED).where(tables.STORED.c.address == address)
            ).one_or_none()
        if row is None:
            raise UnknownError(f"no stored version {address!r} was recorded")
        return Stored(
            address=row.address, manifest=orjson.loads(row.manifest), sha256=row.sha256, bytes=row.bytes
        )

    def done(self, key: str) -> list[str] | None:
        """Return the ids of the nouns that a verb with this key returned, or None when it was never done."""
        with self.reader.connect() as connection:
            nouns = connection.execute(select(tables.DONE.c.nouns).where(tables.DONE.c.key == key)).scalar()
        return None if nouns is None else orjson.loads(nouns)

    def made(self, noun_id: str) -> dict[str, Any] | None:
        """Return the verb that returned a noun last: name, key, flow run (None outside of one), seconds, moment; or None."""
        found = select(tables.DONE).where(tables.DONE.c.nouns.contains(noun_id, autoescape=True))
        with self.reader.connect() as connection:
            row = (
                connection.execute(found.order_by(tables.DONE.c.recorded_at.desc()).limit(1))
                .mappings()
                .first()
            )
        return (
            None
            if row is None
            else {name: row[name] for name in ("verb", "key", "run", "seconds", "recorded_at")}
        )

    def record(
        self,
        verb: str,
        key: str,
        nouns: Sequence[Noun],
        parents: Iterable[tuple[str, str]],
        stored: Iterable[Stored],
        seconds: float,
        run: str | None = None,
        own: Mapping[str, Iterable[tuple[str, str]]] | None = None,
    ) -> None:
        """Write in one transaction what a verb returned, from what, and where its bytes lie; twice is the same as once.

        `run` names the flow run that did it; `own` has the parents of each noun by its id, where they are not the same for all.

        Done again with the same key (the bytes were lost), the key names what was made last. ConflictError when a release
        is late; IntegrityError when an address is taken by other bytes. UnavailableError when it was written, and no checkpoint
        could be left outside.
        """
        now = datetime.now(UTC)
        edges = list(parents)
        with self.engine.begin() as connection:
            begin(connection, now, self.notary)
            written = Written(verb=verb, key=key, run=run, returned=[noun.id for noun in nouns])
            for version in stored:
                if _once(connection, tables.STORED, "address", {**_stored_row(version), "recorded_at": now}):
                    written.stored.append(said_of_stored(version.address, version.sha256))
                _require_same(connection, version)
            for noun in nouns:
                row = {**row_of(noun), "recorded_at": now}
                if _once(connection, tables.NOUN, "id", row):
                    written.new.append(said_of_noun(row))
                for role, parent in edges if own is None else own[noun.id]:
                    if _once_edge(connection, noun.id, parent, role):
                        written.edges.append([noun.id, parent, role])
                if isinstance(noun, Release):
                    switch(connection, noun, now)
            ids = orjson.dumps(written.returned).decode()
            row = {"verb": verb, "nouns": ids, "seconds": seconds, "run": run, "recorded_at": now}
            known = tables.DONE.c.key == key
            if not connection.execute(update(tables.DONE).where(known).values(row)).rowcount:
                connection.execute(insert(tables.DONE).values(key=key, **row))
            head = ledger.append(connection, now, asdict(written))
        self._publish(head)

    def seal(self, name: str, receipts: int, root: str, sha256: str) -> None:
        """Record a sealed segment of receipts; once more is the same as once. IntegrityError when it was sealed otherwise."""
        row = {"name": name, "receipts": receipts, "root": root, "sha256": sha256}
        head = None
        with self.engine.begin() as connection:
            now = datetime.now(UTC)
            begin(connection, now, self.notary)
            if _once(connection, tables.SEGMENT, "name", {**row, "recorded_at": now}):
                head = ledger.append(connection, now, {"verb": "seal", **row})
            held = connection.execute(
                select(tables.SEGMENT.c.root, tables.SEGMENT.c.receipts).where(tables.SEGMENT.c.name == name)
            ).one()
        if (held.root, held.receipts) != (root, receipts):
            raise IntegrityError(
                f"segment {name} was sealed with {held.receipts} receipts of other contents; run `counterfoil verify`"
            )
        if head is not None:
            self._publish(head)

    def seals(self) -> dict[str, dict[str, Any]]:
        """Return what was recorded of every sealed segment, by name."""
        with self.reader.connect() as connection:
            found = connection.execute(select(tables.SEGMENT).order_by(tables.SEGMENT.c.name)).mappings()
            return {row["name"]: dict(row) for row in found}

    @contextmanager
    def signed_once(self) -> Iterator[None]:
        """Leave one checkpoint for all that is written in the block, at its end; also when the block fails.

        UnavailableError when that could not be left outside: what was written is there.
        """
        self._blocks += 1
        try:
            yield
        finally:
            self._blocks -= 1
            if self._late and not self._blocks and self.notary is not None:
                self._late = False
                self.checkpoint()

    def _publish(self, head: ledger.Head) -> None:
        if self._blocks:
            self._late = True
        elif self.notary is not None:
            self.notary.publish(head)

    def checkpoint(self) -> ledger.Head:
        """Sign the ledger's head of now and hand it to the places outside. ConfigError without a notary."""
        with self.engine.begin() as connection:
            begin(connection, datetime.now(UTC), self.notary)
            head = ledger.head(connection)
        self._notary().publish(head)
        return head

    def change_key(self) -> ledger.Head:
        """Name a new key in the ledger, have the key of now sign that, and let the new one sign from there on."""
        notary = self._notary()
        with self.engine.begin() as connection:
            now = datetime.now(UTC)
            begin(connection, now, notary)
            following = notary.prepare()
            head = name_key(connection, now, base64.b64encode(following).decode())
        notary.publish(head)
        notary.follow(following)
        return head

    def _take_over(self) -> None:
        """Let the ledger begin with what is older than it."""
        with self.reader.connect() as connection:
            begun = ledger.peaks(connection).size
            older = not begun and any(
                connection.execute(select(table).limit(1)).first()
                for table in (tables.NOUN, tables.DONE, tables.STORED)
            )
        if older:
            with self.engine.begin() as connection:
                begin(connection, datetime.now(UTC), self.notary)

    def _notary(self) -> Notary:
        if self.notary is None:
            raise ConfigError("this catalog was opened without a notary: nobody signs its ledger")
        return self.notary

    def champion(self, use_case: str, at: datetime | None = None) -> Release | None:
        """Return the release that serves (or served at a moment), or None."""
        query = select(tables.RELEASE.c.id, tables.RELEASE.c.valid_to).where(
            tables.RELEASE.c.use_case == use_case, tables.RELEASE.c.stage == "champion"
        )
        if at is None:
            query = query.where(tables.RELEASE.c.valid_to.is_(None))
        else:
            ended = tables.RELEASE.c.valid_to
            query = query.where(tables.RELEASE.c.valid_from <= at, (ended.is_(None)) | (ended > at))
        with self.reader.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else self.get(row.id)  # type: ignore[return-value]

    def challenger(self, use_case: str) -> Release | None:
        """Return the release in shadow or canary, or None."""
        query = select(tables.RELEASE.c.id).where(
            tables.RELEASE.c.use_case == use_case,
            tables.RELEASE.c.stage.in_(("shadow", "canary")),
            tables.RELEASE.c.valid_to.is_(None),
        )
        with self.reader.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else self.get(row.id)  # type: ignore[return-value]

    def epoch(self, use_case: str) -> int:
        """Return the epoch of the newest release of a use case, 0 when there is none."""
        query = select(func.max(tables.RELEASE.c.epoch)).where(tables.RELEASE.c.use_case == use_case)
        with self.reader.connect() as connection:
            return connection.execute(query).scalar() or 0

    def releases(self, use_case: str | None = None) -> list[dict[str, Any]]:
        """Return every release with its time of service, newest first."""
        query = select(tables.RELEASE).order_by(tables.RELEASE.c.epoch.desc())
        if use_case is not None:
            query = query.where(tables.RELEASE.c.use_case == use_case)
        with self.reader.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def rows(self) -> Iterable[dict[str, Any]]:
        """Yield every noun as it stands in the database: id, kind, use case, body, its recorded digest, address."""
        with self.reader.connect() as connection:
            query = select(tables.NOUN).order_by(tables.NOUN.c.recorded_at, tables.NOUN.c.id)
            yield from map(dict, connection.execute(query).mappings())

    def edges(self) -> list[tuple[str, str]]:
        """Return (child, parent) of every edge."""
        with self.reader.connect() as connection:
            query = select(tables.EDGE.c.child, tables.EDGE.c.parent).order_by(
                tables.EDGE.c.child, tables.EDGE.c.parent
            )
            return [(row[0], row[1]) for row in connection.execute(query)]

    def all_done(self) -> list[dict[str, Any]]:
        """Return every verb that was done: its key, its name, and the ids of what it returned, as text."""
        with self.reader.connect() as connection:
            query = select(tables.DONE.c.key, tables.DONE.c.verb, tables.DONE.c.nouns).order_by(
                tables.DONE.c.key
            )
            return [dict(row) for row in connection.execute(query).mappings()]

    def passages(self) -> list[dict[str, Any]]:
        """Return every verb that was done, oldest first: key, name, ids of what it returned, seconds, moment of its record."""
        query = select(tables.DONE).order_by(tables.DONE.c.recorded_at, tables.DONE.c.key)
        with self.reader.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [{**row, "nouns": orjson.loads(row["nouns"])} for row in rows]

    def addresses(self) -> list[str]:
        """Return every stored address that was recorded."""
        with self.reader.connect() as connection:
            return list(
                connection.execute(
                    select(tables.STORED.c.address).order_by(tables.STORED.c.address)
                ).scalars()
            )

    def _edges(self, near: Any, far: Any, noun_id: str) -> list[tuple[str, str]]:
        with self.reader.connect() as connection:
            rows = connection.execute(
                select(tables.EDGE.c.role, far).where(near == noun_id).order_by(tables.EDGE.c.role, far)
            )
            return [(row[0], row[1]) for row in rows]


def _stored_row(version: Stored) -> dict[str, Any]:
    manifest = canonical.encode(version.manifest).decode()
    return {
        "address": version.address,
        "sha256": version.sha256,
        "manifest": manifest,
        "bytes": version.bytes,
    }


def row_of(noun: Noun) -> dict[str, Any]:
    """Return what the noun's row holds, but for the moment it was recorded."""
    return {
        "id": noun.id,
        "kind": noun.kind,
        "use_case": getattr(noun, "use_case", None),
        "body": canonical.encode(noun).decode(),
        "body_sha256": canonical.sha256(noun),
        "address": getattr(noun, "address", None),
    }


def _once(connection: Connection, table: Any, key: str, row: dict[str, Any]) -> bool:
    """Insert a row unless its key is there; say whether it was."""
    if connection.execute(select(table.c[key]).where(table.c[key] == row[key])).first() is not None:
        return False
    connection.execute(insert(table).values(row))
    return True


def _require_same(connection: Connection, version: Stored) -> None:
    """Refuse other bytes under a known address: two contents of one MD5."""
    query = select(tables.STORED.c.sha256).where(tables.STORED.c.address == version.address)
    if connection.execute(query).scalar() != version.sha256:
        raise IntegrityError(
            f"{version.address} was recorded with other bytes (SHA-256 manifest now {version.sha256[:12]}): its MD5 collides"
            " or the record was altered; run `counterfoil verify`"
        )


def _once_edge(connection: Connection, child: str, parent: str, role: str) -> bool:
    edge = {"child": child, "parent": parent, "role": role}
    if connection.execute(select(tables.EDGE.c.child).filter_by(**edge)).first() is not None:
        return False
    connection.execute(insert(tables.EDGE).values(edge))
    return True
