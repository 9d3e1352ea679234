"""The feature repository, opened by the settings: what feature_store.yaml says, for any home and profile."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock

from counterfoil import redis
from counterfoil.settings import Settings
from feature_repo import recent
from feature_repo.build import VIEWS, replacing
from feature_repo.light import import_feast

if TYPE_CHECKING:
    from feast import FeatureStore

PROJECT = "counterfoil"
REDIS_SECONDS = {
    "socket_timeout": 2,
    "socket_connect_timeout": 2,
}  # of one try; the client makes four, with pauses between


def open_store(settings: Settings) -> "FeatureStore":
    """Open the feature store of this home; its folder is made when it is missing."""
    import_feast()
    from feast import FeatureStore, RepoConfig

    settings.features.mkdir(parents=True, exist_ok=True)
    return FeatureStore(config=RepoConfig(**_config(settings), repo_path=Path(__file__).parent))


def apply(settings: Settings) -> "FeatureStore":
    """Write the definitions into the registry and make the online tables; doing it again changes nothing.

    Leaves `feature_store.yaml` in the features folder: `feast -f` with it sees this home, wherever that is.
    """
    import_feast()
    from feature_repo.definitions import define

    features = settings.features.resolve()
    for view in (*VIEWS, recent.VIEW):
        (features / view).mkdir(parents=True, exist_ok=True)
    store = open_store(settings)
    with FileLock(features / "apply.lock"):  # the collector may do the same right now
        store.apply([*define(features, settings.feature_ttl_days).all])
    with replacing(features / "feature_store.yaml") as fresh:
        fresh.touch(0o600)  # the store's address may hold a password
        fresh.write_text(yaml.safe_dump(_config(settings)), encoding="utf-8")
    return store


def _bounded(url: str) -> str:
    """Return Redis' address with bounds on how long is waited for it, where it names none: one that vanished answers no more."""
    found = redis.parse(url)
    return replace(found, options={**REDIS_SECONDS, **found.options}).feast()


def _config(settings: Settings) -> dict[str, Any]:
    features = settings.features.resolve()
    online: dict[str, Any] = {
        "type": "feature_repo.online_store.NewestSqliteOnlineStore",
        "path": str(features / "online.sqlite"),
    }
    if settings.online_store_url:
        online = {
            "type": "redis",
            "connection_string": _bounded(settings.online_store_url),
            # views share a key there, so that it lasts as long as the one that lasts longest, from the last write on
            "key_ttl_seconds": max(settings.feature_ttl_days, recent.DAYS) * 86_400,
        }
    return {
        "project": PROJECT,
        "provider": "local",
        "registry": {
            "registry_type": "sql",
            "path": f"sqlite:///{features / 'registry.sqlite'}",
            "cache_ttl_seconds": 60,
            "serve_features_while_materializing": True,
        },
        "offline_store": {"type": "duckdb"},
        "online_store": online,
        "entity_key_serialization_version": 3,
    }
