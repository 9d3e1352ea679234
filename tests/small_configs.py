"""Configs for the contract suite: as small as learns the planted shop in a second.

A family that is not named here uses its defaults.
"""

from typing import Any

from models.families import config_from

# What the vector families would choose on validation; given, so that they learn once.
WEIGHED = {"half_life_days": 90.0, "own_weight": 0.3, "prior_weight": 0.01}
SMALL: dict[str, dict[str, Any]] = {
    "personknn": {"neighbours": 10},
    "svd": {"factors": 8},
    "bpr": {"factors": 8, "iterations": 200},
    "als": {"factors": 8, "iterations": 5, "regularization": 0.1},
    "item2vec": {"width": 16, "epochs": 30, "sample": 0.0},
    "cascade": {"inner": "als", "depth": 20, "keep": 0.9},
    "exposure": {"members": ["als", "popularity"], "depth": 20, "keep": 0.0, "give": 0.5},
    "fusion": {"members": ["als", "popularity"], "depth": 20},
    "itemknn": {"neighbours": 10, "shrink": 1.0},
    "pictures": {"size": 16, "width": 16, "channels": 8, "batch": 32, "steps": 70, "rate": 0.01} | WEIGHED,
    "sasrec": {"width": 16, "epochs": 3.0, "negatives": 32},
    "gru4rec": {"width": 16, "memory": 16, "epochs": 3.0, "negatives": 32},
    "lstm": {"width": 16, "memory": 16, "epochs": 3.0, "negatives": 32},
    "lightgcn": {"width": 16, "epochs": 5, "length": 20, "negatives": 32},
    "gat": {"width": 16, "epochs": 5, "length": 20, "takers": 10, "negatives": 32},
    "twotower": {"width": 16, "hidden": 16, "epochs": 5, "length": 20, "batch": 128},
    "dcn": {"ranker": {"epochs": 3}},
    "mlp": {"ranker": {"epochs": 3}},
    "twostage": {"ranker": {"trees": 30, "min_child_weight": 1.0}},
}


def small(family: str) -> Any:
    """Return the family's config for tests."""
    return config_from(family, SMALL.get(family, {}))
