"""Who answers: the release table's one write, a compare-and-swap on (use case, epoch), with what is to be told of it.

It runs inside the transaction that writes the release itself, its decision and the entry of the ledger (`Catalog.record`): all
of it is there, or nothing.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError as DatabaseIntegrityError

from counterfoil import canonical
from counterfoil.catalog import tables
from counterfoil.errors import ConflictError, InputError
from counterfoil.types import Release

CHALLENGER = ("shadow", "canary")
# What a release of a stage ends: a champion all that is active, any other stage the challenger before it.
ENDS = {
    "champion": ("champion", *CHALLENGER),
    "shadow": CHALLENGER,
    "canary": CHALLENGER,
    "retired": CHALLENGER,
}


def switch(connection: Connection, release: Release, now: datetime) -> None:
    """Let this release begin, end what it takes the place of, and lay into the outbox what happened; once more does nothing.

    ConflictError when the epoch is not the next one: somebody else was faster. InputError when its share is not its stage's.
    """
    table = tables.RELEASE
    if connection.execute(select(table.c.id).where(table.c.id == release.id)).first() is not None:
        return
    _require_share(release)
    _require_next(connection, release)
    ended = _end(connection, release)
    names = ("id", "use_case", "epoch", "stage", "share", "valid_from", "valid_to")
    try:
        connection.execute(insert(table).values({name: getattr(release, name) for name in names}))
    except DatabaseIntegrityError as fault:
        raise ConflictError(f"release {release.id} lost a race for {release.use_case}; run again") from fault
    connection.execute(insert(tables.OUTBOX).values(_told(release, ended, now)))


def _require_share(release: Release) -> None:
    fits = {
        "champion": release.share == 1,
        "shadow": release.share == 0,
        "canary": 0 < release.share < 1,
        "retired": release.share == 0 and release.valid_to is not None,
    }
    if not fits[release.stage]:
        raise InputError(
            f"{release.stage} with share {release.share:g} is no stage of a release; a champion has 1, a canary something between"
            " 0 and 1, a shadow 0"
        )


def _require_next(connection: Connection, release: Release) -> None:
    epoch = tables.RELEASE.c.epoch
    newest = (
        select(epoch).where(tables.RELEASE.c.use_case == release.use_case).order_by(epoch.desc()).limit(1)
    )
    latest = connection.execute(newest).scalar() or 0
    if release.epoch != latest + 1:
        raise ConflictError(
            f"release {release.id} was made for epoch {release.epoch} of {release.use_case}, but epoch {latest} is already there;"
            " run again to decide against the champion of now"
        )


def _end(connection: Connection, release: Release) -> list[str]:
    """End what this release takes the place of; return the ids of that."""
    table = tables.RELEASE
    taken = (
        (table.c.use_case == release.use_case)
        & table.c.stage.in_(ENDS[release.stage])
        & table.c.valid_to.is_(None)
    )
    ended = list(connection.execute(select(table.c.id).where(taken).order_by(table.c.epoch)).scalars())
    if release.stage == "retired" and not ended:
        raise ConflictError(
            f"{release.use_case} has no challenger any more, so none is taken back; look at `counterfoil status`"
        )
    connection.execute(update(table).where(taken).values(valid_to=release.valid_from))
    return ended


def _told(release: Release, ended: list[str], now: datetime) -> dict[str, Any]:
    body = {
        "release": release.id,
        "use_case": release.use_case,
        "epoch": release.epoch,
        "stage": release.stage,
        "share": release.share,
        "bento": release.tag,
        "decision": release.decision,
        "since": release.valid_from,
        "ends": ended,
    }
    return {
        "release": release.id,
        "use_case": release.use_case,
        "epoch": release.epoch,
        "body": canonical.encode(body).decode(),
        "recorded_at": now,
        "attempts": 0,
        "taken": "[]",
    }
