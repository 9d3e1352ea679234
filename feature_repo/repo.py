"""The feature repository, opened by the settings: what feature_store.yaml says, for any home and profile."""

from pathlib import Path
from typing import TYPE_CHECKING

from counterfoil.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureStore

PROJECT = "counterfoil"


def open_store(settings: Settings) -> "FeatureStore":
    """Open the feature store of this home: SQL registry, DuckDB offline, SQLite (or Redis, by settings) online."""
    from feast import FeatureStore, RepoConfig

    settings.features.mkdir(parents=True, exist_ok=True)
    online: dict[str, object] = {
        "type": "feature_repo.online_store.NewestSqliteOnlineStore",
        "path": str(settings.features.resolve() / "online.sqlite"),
    }
    if settings.online_store_url:
        online = {"type": "redis", "connection_string": settings.online_store_url.removeprefix("redis://")}
    return FeatureStore(
        config=RepoConfig(
            project=PROJECT,
            provider="local",
            registry={
                "registry_type": "sql",
                "path": f"sqlite:///{settings.features.resolve() / 'registry.sqlite'}",
                "cache_ttl_seconds": 60,
                "serve_features_while_materializing": True,
            },
            offline_store={"type": "duckdb"},
            online_store=online,
            entity_key_serialization_version=3,
            repo_path=Path(__file__).parent,
        )
    )


def apply(settings: Settings) -> "FeatureStore":
    """Write the definitions into the registry and make the online tables; doing it again changes nothing."""
    from feature_repo.definitions import define

    store = open_store(settings)
    store.apply([*define(settings.features.resolve(), settings.feature_ttl_days).all])
    return store
