"""Settings on record: whenever they differ from those of before, the ledger is told before anything else is written."""

from datetime import UTC, datetime

from counterfoil.catalog import Catalog, Made, Recorder
from counterfoil.pseudonym import fingerprint, pseudonym
from counterfoil.settings import Settings
from counterfoil.store import Store
from counterfoil.types import Setting

PLAIN = ("profile", "threads", "service_port", "prefect_port", "feature_ttl_days", "receipt_days")
SECRET = ("catalog_url", "online_store_url", "prefect_api_url", "checkpoints", "remote", "release_webhooks")


def values(settings: Settings) -> dict[str, str]:
    """Return what is told of settings, as text. Addresses may hold passwords: they are told by a digest under the pseudonym key.

    Where things lie on this machine is left out: a home that is moved is the same installation.
    """
    key = settings.pseudonym_key
    secret = {name: getattr(settings, name) for name in SECRET}
    return {
        **{name: str(getattr(settings, name)) for name in PLAIN},
        **{name: "none" if value is None else pseudonym(value, key) for name, value in secret.items()},
        "pseudonym_key": fingerprint(key),
    }


def settle(settings: Settings, catalog: Catalog, store: Store) -> None:
    """Record the settings of now, unless they are those that were recorded last."""
    now = values(settings)
    last = catalog.find(Setting, limit=1)
    if not last or last[0].values != now:

        def setting(values: dict[str, str], at: datetime) -> Made:
            return Made(nouns=(Setting(values=values, at=at),))

        Recorder(catalog=catalog, store=store, code={}).wrap(setting)(now, datetime.now(UTC))
