"""The public sets of `make bench-models`: where each lies, how it is cut, and who is measured on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from counterfoil.importers.source import existing
from counterfoil.importers.sql import literal
from flows.benchmark.sets import Protocol, Terms

PEERS = ("rectools-sasrec", "implicit-als", "implicit-bpr", "recbole-lightgcn")
FACTORS = ("als", "bpr", "lightgcn", "ease")
FEWEST_BUYERS = 5
# The best of the peers on first purchases but for two stages; a fusion that chooses for itself would take our two stages in.
RANK_FUSION = {"members": ("ease", "als", "popularity"), "weights": (1.0, 1.0, 1.0), "kind": "rank"}


def first_purchases(source: Path, folder: Path) -> Path:
    """Write who bought what when for the first time, of items with FEWEST_BUYERS or more, and return the file.

    So the peers' figures on UCI Online Retail cut it: what was given back and who is unknown left out.
    """
    out = folder / "first_purchases.parquet"
    duckdb.execute(
        "COPY (SELECT person, item, time FROM (SELECT *, count(*) OVER (PARTITION BY item) AS buyers FROM ("
        "SELECT CustomerID AS person, StockCode AS item, min(InvoiceDate) AS time"
        f" FROM {literal(existing(source, 'a public set'))} WHERE Quantity > 0 AND CustomerID IS NOT NULL GROUP BY 1, 2))"
        f" WHERE buyers >= {FEWEST_BUYERS} ORDER BY 1, 3, 2) TO {literal(out)}"
    )
    return out


@dataclass(frozen=True, kw_only=True)
class Set:
    """A public set below the data folder, how it is cut, and who is measured on it; `path` None: it comes with a package.

    `written` makes of the file at `path` the one that is measured on, in a folder of its own; `configs` overrides defaults.
    """

    path: str | None
    format: str
    protocol: Protocol
    families: tuple[str, ...]
    peers: tuple[str, ...] = ()
    refit: bool = False
    repeats: bool | None = None
    cut: str = "0.9"
    configs: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    written: Callable[[Path, Path], Path] | None = None

    def terms(self, data: Path, folder: Path) -> Terms:
        """Return the terms of the measurement; `folder` takes what has to be written for it."""
        path = data / self.path if self.path else None
        return Terms(
            path=self.written(path, folder) if self.written and path else path,
            format=self.format,
            protocol=self.protocol,
            refit=self.refit,
            repeats=self.repeats,
            cut=self.cut,
        )


SETS = {
    "amazon-beauty": Set(
        path="amazon_beauty_s3rec",
        format="s3rec",
        protocol="leave-one-out",
        families=("fusion", "cascade", "sasrec", "rules", "itemknn", *FACTORS, "popularity"),
        peers=PEERS,
    ),
    "movielens-100k": Set(
        path="movielens_100k",
        format="interactions",
        protocol="leave-one-out",
        refit=True,
        families=("fusion", "sasrec", "rules", "itemknn", *FACTORS, "popularity"),
        peers=PEERS,
    ),
    "uci-online-retail": Set(
        path="uci_online_retail/online_retail.parquet",
        written=first_purchases,
        format="interactions",
        protocol="time",
        repeats=False,
        families=("twostage", "exposure", "cascade", "fusion", "itemknn", *FACTORS, "popularity"),
        configs={"fusion": RANK_FUSION},
        peers=PEERS,
    ),
    "diginetica": Set(
        path="diginetica_gce_gnn",
        format="sessions",
        protocol="next-item",
        families=("fusion", "rules", "sessionknn", "gru4rec", "itemknn"),
    ),
    "complete-journey": Set(
        path=None,
        format="complete-journey",
        protocol="time",
        cut="2017-12-03",
        families=("twostage", "repurchase", "itemknn", "popularity"),
    ),
}
