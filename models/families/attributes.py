"""Attributes: shelves, brands and price bands that a person takes from, and whatever else has them. Cheap, and can be read.

Each level of the category path, the brand and the price band are one attribute each; rare ones say more (idf). A person is the
decayed mean of what they took, so a new item is answered on its first day by what is said of it.
Shapes: J items at the fit, C later items, V attributes, E edges between price bands.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from counterfoil.errors import IntegrityError
from models import artefact
from models.config import bounds
from models.data import Content, TrainingSet
from models.families.content import ByVectors, VectorConfig, fit_by, load_by, require
from models.family import Family
from models.vectors import Matrix, unit

PARTED_BY = " > "


@dataclass(frozen=True, kw_only=True)
class AttributesConfig(VectorConfig):
    """How loudly each kind of attribute speaks; prices are cut into `bands` that hold equally many items."""

    family: ClassVar[str] = "attributes"
    category: float = bounds(1.0, 0.0, 1000.0)
    brand: float = bounds(1.0, 0.0, 1000.0)
    price: float = bounds(0.3, 0.0, 1000.0)
    bands: int = bounds(10, 1, 1000)


class AttributeEncoder:
    """Names of the attributes with their weights, float32 [V], and the edges of the price bands, float32 [E]."""

    def __init__(self, names: list[str], weight_V: np.ndarray, edge_E: np.ndarray) -> None:
        self.names = names
        self.weight_V = weight_V
        self.edge_E = edge_E
        self._column = {name: column for column, name in enumerate(names)}

    def encode(self, content: Content, item_C: np.ndarray) -> csr_matrix:
        """Return the weights of each item's attributes, rows of length one, float32 sparse [C, V]."""
        found = [
            [self._column[name] for name in attributes(content, item, self.edge_E) if name in self._column]
            for item in item_C.tolist()
        ]
        indptr = np.concatenate([[0], np.cumsum([len(columns) for columns in found], dtype=np.int64)])
        column_N = np.array([column for columns in found for column in columns], np.int32)
        flat = (self.weight_V[column_N], column_N, indptr)
        out = csr_matrix(flat, shape=(len(item_C), len(self.names)), dtype=np.float32)
        out.sort_indices()
        return unit(out)

    def save(self, folder: Path) -> None:
        """Write `attributes.json`, `weight.npy` and `edge.npy`."""
        artefact.write_json(folder / "attributes.json", {"names": self.names})
        artefact.write_array(folder / "weight.npy", self.weight_V)
        artefact.write_array(folder / "edge.npy", self.edge_E)


def attributes(content: Content, item: int, edge_E: np.ndarray) -> Iterator[str]:
    """Yield the names of an item's attributes: every level of its category as a path, its brand, its price band."""
    levels = content.category_I[item].split(PARTED_BY) if content.category_I[item] else []
    for depth in range(len(levels)):
        yield "category " + PARTED_BY.join(levels[: depth + 1])
    if content.brand_I[item]:
        yield "brand " + content.brand_I[item]
    if np.isfinite(content.price_I[item]):
        yield f"price band {int(np.searchsorted(edge_E, content.price_I[item], 'right'))}"


def fit(config: AttributesConfig, training: TrainingSet, seed: int) -> ByVectors:
    """Count the catalogue's attributes; nothing is random. ConfigError when no item has any."""
    content = require(
        training,
        "attributes",
        _says_anything,
        "category, brand or price",
        "a family that goes by who took what",
    )
    encoder = _encoder(config, content)

    def learn(_: TrainingSet) -> Matrix:
        return encoder.encode(content, np.arange(len(content)))

    return fit_by(config, training, learn, encoder, from_content=True)


def load(folder: Path) -> ByVectors:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config, vector_JV, buyers_J = load_by(folder, AttributesConfig, sparse=True)
    names = artefact.read_json(folder / "attributes.json").get("names")
    weight_V = artefact.read_array(folder / "weight.npy", np.float32)
    edge_E = artefact.read_array(folder / "edge.npy", np.float32)
    if not isinstance(names, list) or not len(names) == len(weight_V) == vector_JV.shape[1]:
        raise IntegrityError(
            "attributes.json and weight.npy do not fit each other; restore the artefact by its digest"
        )
    return ByVectors(config, vector_JV, buyers_J, AttributeEncoder(names, weight_V, edge_E))


def _encoder(config: AttributesConfig, content: Content) -> AttributeEncoder:
    price_I = content.price_I[np.isfinite(content.price_I)]
    cuts = np.linspace(0, 1, config.bands + 1)[1:-1]
    edge_E = np.unique(np.quantile(price_I, cuts)) if len(price_I) and len(cuts) else np.zeros(0)
    edge_E = edge_E.astype(np.float32)
    count: dict[str, int] = {}
    for item in range(len(content)):
        for name in attributes(content, item, edge_E):
            count[name] = count.get(name, 0) + 1
    names = sorted(count)
    idf_V = 1.0 + np.log((1 + len(content)) / (1 + np.array([count[name] for name in names], np.float64)))
    loudness = {"category": config.category, "brand": config.brand, "price": config.price}
    weight_V = idf_V * np.array([loudness[name.partition(" ")[0]] for name in names])
    return AttributeEncoder(names, weight_V.astype(np.float32), edge_E)


def _says_anything(content: Content) -> bool:
    return any(content.category_I) or any(content.brand_I) or bool(np.isfinite(content.price_I).any())


FAMILY = Family(
    config=AttributesConfig,
    fit=fit,
    load=load,
    paper="Pazzani, Billsus: Content-based recommendation systems, The Adaptive Web 2007",
)
