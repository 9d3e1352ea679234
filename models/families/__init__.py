"""The registry of families: one line each. Modules are imported when they are asked for, since some bring torch or XGBoost.

A registered module has a constant `FAMILY` of type `models.family.Family`; docs/how-to/add-a-family.md says the rest.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from counterfoil.errors import UnknownError
from counterfoil.types import FamilyConfig
from models.config import build
from models.family import Family

MODULES = {
    "popularity": "models.families.popularity",
    "repurchase": "models.families.repurchase",
    "itemknn": "models.families.itemknn",
    "rules": "models.families.rules",
    "sessionknn": "models.families.sessionknn",
    "als": "models.families.als",
    "ease": "models.families.ease",
    "personknn": "models.families.personknn",
    "svd": "models.families.svd",
    "bpr": "models.families.bpr",
    "sasrec": "models.families.sasrec",
    "gru4rec": "models.families.gru4rec",
    "lstm": "models.families.lstm",
    "lightgcn": "models.families.lightgcn",
    "gat": "models.families.gat",
    "twotower": "models.families.twotower",
    "twostage": "models.families.twostage",
    "logistic": "models.families.logistic",
    "mlp": "models.families.mlp",
    "dcn": "models.families.dcn",
    "tfidf": "models.families.tfidf",
    "item2vec": "models.families.item2vec",
    "attributes": "models.families.attributes",
    "sentences": "models.families.sentences",
    "pictures": "models.families.pictures",
    "fusion": "models.families.fusion",
    "cascade": "models.families.cascade",
    "exposure": "models.families.exposure",
}


class Registry(Mapping[str, Family]):
    """Families by name, imported on first use."""

    def __getitem__(self, name: str) -> Family:
        if name not in MODULES:
            raise UnknownError(f"no family is called {name!r}; there are {', '.join(MODULES)}")
        found: Family = import_module(MODULES[name]).FAMILY
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)

    def __contains__(self, name: object) -> bool:
        return name in MODULES


FAMILIES = Registry()


def family(name: str) -> Family:
    """Return the family of that name. UnknownError when there is none."""
    return FAMILIES[name]


def names() -> tuple[str, ...]:
    """Return the names of all families in the order of the registry, without importing them."""
    return tuple(MODULES)


def config_from(family: str, values: Mapping[str, Any]) -> FamilyConfig:
    """Return the family's typed config from plain values. ConfigError names every fault; UnknownError: no such family."""
    config: FamilyConfig = build(FAMILIES[family].config, values, family)
    return config
