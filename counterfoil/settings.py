"""The one reader of the environment. Profiles `embedded` (default: files and SQLite on this machine) and `production`."""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from counterfoil import redis
from counterfoil.errors import ConfigError

# Off by default in every process that starts through Counterfoil. TZ=UTC, since Feast and DuckDB read it.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "BENTOML_DO_NOT_TRACK": "True",
    "DVC_NO_ANALYTICS": "1",
    "FEAST_USAGE": "False",
    "AWS_EC2_METADATA_DISABLED": "true",
    "TZ": "UTC",
    # Two OpenMP libraries that spin for the same cores stop each other; sleeping costs next to nothing on a quiet machine.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Flows exchange ids and digests only, as JSON: the default serialiser would be an unsafe one.
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}
# Published with the source, hence no secret: it makes pseudonyms of the embedded profile the same on every machine, so that
# an auditor's re-run gives the very digests of the first run. `counterfoil doctor` warns of it; production refuses it.
EMBEDDED_KEY = "counterfoil-embedded-demo-key"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def answerers_for(cores: int, *, waits: bool) -> int:
    """Return how many answering processes make use of so many cores: one more where each `waits` at times, for disk or network.

    Never one alone: while it is at a hard question, or is replaced, nobody would be answered.
    """
    return max(2, min(8, cores) + waits)


def _answerers(held: dict[str, Any]) -> int:
    waits = held.get("receipt_flush_ms") == 0 or held.get("online_store_url") is not None
    return answerers_for(cores(), waits=waits)


class Settings(BaseSettings):
    """Everything that may differ between machines; names in the environment carry the prefix COUNTERFOIL_."""

    model_config = SettingsConfigDict(
        env_prefix="COUNTERFOIL_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    profile: Literal["embedded", "production"] = "embedded"
    home: Path = Field(default_factory=lambda: Path.cwd() / ".counterfoil")
    project: Path = Field(default_factory=lambda: Path(__file__).resolve().parent.parent)
    catalog_url: str | None = None
    online_store_url: str | None = None
    prefect_api_url: str | None = None
    pseudonym_key: str = EMBEDDED_KEY
    ledger_key: Path | None = None
    checkpoints: str | None = None
    remote: str | None = None
    receipt_days: int | None = Field(default=None, ge=1)
    receipt_flush_ms: int = Field(default=50, ge=0, le=1000)
    openlineage: str | None = None
    openlineage_key: str | None = None
    openlineage_namespace: str = Field(default="counterfoil", min_length=1)
    threads: int = Field(default_factory=lambda: min(2, os.cpu_count() or 1), ge=1)
    gateway_port: int = Field(default=3000, ge=1, le=65535)
    gateway_host: str = "127.0.0.1"
    gateway_budget_ms: int = Field(default=1000, ge=50, le=60_000)
    gateway_events_ms: int = Field(default=5000, ge=50, le=60_000)
    gateway_in_flight: int = Field(default=128, ge=1, le=10_000)
    gateway_events_in_flight: int = Field(default=256, ge=1, le=10_000)
    gateway_log_share: float = Field(default=0.01, ge=0, le=1)
    gateway_drain_seconds: float = Field(default=10.0, ge=0, le=600)
    otlp: str | None = None
    service_port: int = Field(default=3010, ge=1, le=65535)
    answerers: int = Field(default_factory=_answerers, ge=0, le=256)
    prefect_port: int = Field(default=4200, ge=1, le=65535)
    console_port: int = Field(default=3100, ge=1, le=65535)
    console_address: str = "127.0.0.1"
    console_hosts: str = "127.0.0.1,localhost"
    feast_url: str | None = None
    release_webhooks: str | None = None
    feature_ttl_days: int = Field(default=35, ge=1)

    @field_validator("online_store_url")
    @classmethod
    def _is_a_redis(cls, url: str | None) -> str | None:
        # in Feast's form, which bentos from before there were URLs take too
        return f"redis://{redis.parse(url).feast()}" if url else None

    @property
    def landing(self) -> Path:
        """Folder of landed events, items and people."""
        return self.home / "landing"

    @property
    def batches(self) -> Path:
        """Folder of what each batch brought: beside the landing folder, so that it outlives what is mended there."""
        return self.home / "batches"

    @property
    def features(self) -> Path:
        """Folder of the feature repository's offline files, registry and online store."""
        return self.home / "features"

    @property
    def receipts(self) -> Path:
        """Folder of receipts."""
        return self.home / "receipts"

    @property
    def work(self) -> Path:
        """Folder in which verbs leave their outputs; DVC's stages name the folders below it."""
        return self.home / "work"

    @property
    def bentos(self) -> Path:
        """BentoML's home: its store of models and bentos."""
        return self.home / "bentoml"

    @property
    def gateway(self) -> Path:
        """Folder of the gateway's keys and last good lists."""
        return self.home / "gateway"

    @property
    def run(self) -> Path:
        """Folder of what the processes here tell each other: routes, release pointers, the token."""
        return self.home / "run"

    @property
    def events(self) -> Path:
        """Folder of events that were acknowledged and have not landed yet."""
        return self.home / "events"

    @property
    def console(self) -> Path:
        """Folder of the console's accounts."""
        return self.home / "console"

    @property
    def console_names(self) -> tuple[str, ...]:
        """Names that a browser may ask the console by: `console_hosts` cut at commas."""
        return tuple(part.strip() for part in self.console_hosts.split(",") if part.strip())

    @property
    def notary_key(self) -> Path:
        """File of the key that signs the ledger's heads."""
        return self.ledger_key or self.home / "keys" / "ledger.pem"

    @property
    def checkpoint_places(self) -> tuple[str, ...]:
        """Folders and webhooks that take signed heads: one of the home, and `checkpoints` cut at commas."""
        named = tuple(part.strip() for part in (self.checkpoints or "").split(",") if part.strip())
        return (str(self.home / "checkpoints"), *named)

    @property
    def openlineage_places(self) -> tuple[str, ...]:
        """Files and URLs that take OpenLineage events besides the home's own file: `openlineage` cut at commas."""
        return tuple(part.strip() for part in (self.openlineage or "").split(",") if part.strip())

    @property
    def release_places(self) -> tuple[str, ...]:
        """URLs that are told of each change of who answers: `release_webhooks` cut at commas."""
        return tuple(part.strip() for part in (self.release_webhooks or "").split(",") if part.strip())

    @cached_property
    def database(self) -> str:
        """SQLAlchemy URL of the catalog."""
        return self.catalog_url or f"sqlite:///{self.home / 'catalog.sqlite'}"

    @cached_property
    def dvc_root(self) -> Path:
        """Folder of the DVC repository that is THE store: the project's own when the home lies inside it, else the home."""
        inside = self.home.resolve().is_relative_to(self.project.resolve())
        return self.project if inside and (self.project / ".dvc").is_dir() else self.home


MUST_BE = {
    "profile": "embedded or production",
    "threads": "a whole number, 1 or more",
    "gateway_port": "a whole number from 1 to 65535",
    "answerers": "a whole number of processes, 0 (none: a thread answers) to 256",
    "service_port": "a whole number from 1 to 65535",
    "prefect_port": "a whole number from 1 to 65535",
    "console_port": "a whole number from 1 to 65535",
    "feature_ttl_days": "a whole number of days, 1 or more",
    "receipt_days": "a whole number of days, 1 or more",
    "receipt_flush_ms": "a whole number of milliseconds, 0 (before each answer) to 1000",
}


def _wrong(error: Mapping[str, Any]) -> str:
    """Return what is wrong with one variable, as part of a sentence; pydantic's own words where we have none."""
    name = str(error["loc"][0]) if error["loc"] else ""
    if name == "online_store_url":  # it may hold a password
        why = error.get("ctx", {}).get("error", error["msg"])
        return f"COUNTERFOIL_ONLINE_STORE_URL is not redis://USER:PASSWORD@HOST:PORT/NUMBER, of which HOST is enough: {why}"
    wanted = f"it must be {MUST_BE[name]}" if name in MUST_BE else error["msg"]
    return f"COUNTERFOIL_{name.upper()} is {error['input']!r}, but {wanted}"


def load() -> Settings:
    """Read the settings, make the environment quiet, and return them.

    Raises ConfigError when a value is wrong, naming all faults at once.
    """
    try:
        settings = Settings()
    except ValidationError as fault:
        # what follows from a wrong value is no fault of its own
        wrong = [_wrong(error) for error in fault.errors() if error["type"] != "default_factory_not_called"]
        raise ConfigError(f"{'; '.join(wrong)}; set what is wrong anew") from fault
    if settings.receipt_days is not None and not settings.remote:
        raise ConfigError(
            f"COUNTERFOIL_RECEIPT_DAYS is {settings.receipt_days}, but what is older has no place to go; set COUNTERFOIL_REMOTE"
        )
    if settings.profile == "production" and settings.pseudonym_key == EMBEDDED_KEY:
        raise ConfigError(
            "COUNTERFOIL_PSEUDONYM_KEY is not set: production needs a secret of its own; set it"
        )
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(settings.home / "prefect"))
    os.environ.setdefault("BENTOML_HOME", str(settings.bentos))
    if settings.prefect_api_url:
        os.environ.setdefault("PREFECT_API_URL", settings.prefect_api_url)
    return settings


def of_children(settings: Settings) -> dict[str, str]:
    """Return the environment for a child process that is to work on this very home, whatever folder it runs in."""
    folders = {name: os.environ[name] for name in ("PREFECT_HOME", "BENTOML_HOME") if name in os.environ}
    absolute = {name: str(Path(folder).absolute()) for name, folder in folders.items()}
    url = settings.online_store_url
    store = {} if url is None else {"COUNTERFOIL_ONLINE_STORE_URL": url}
    return {**os.environ, **absolute, **store, "COUNTERFOIL_HOME": str(settings.home.absolute())}


def inherited() -> dict[str, str]:
    """Return the environment that a child process has by default: ours."""
    return dict(os.environ)


def use_prefect(api_url: str) -> None:
    """Point this process and its children at a running Prefect server."""
    os.environ["PREFECT_API_URL"] = api_url
