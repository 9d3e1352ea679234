"""Real sets beside the project: for holding families and metrics against figures that others published.

What a shop learns from goes through a dataset version instead (flows/snapshot.py); sets without real times have no such split.
"""

from pathlib import Path

import pytest

from models.data import DAY_US, Interactions, TrainingSet
from models.splits import no_features
from tests.conftest import SHARED


def real_set(name: str) -> Path:
    """Return the folder of a real set; the test is skipped, and says so, when it is missing."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/data/{name}, which is not here")
    return folder


def training_on(interactions: Interactions) -> TrainingSet:
    """Return everything as a training set without cut-offs."""
    return TrainingSet(
        interactions=interactions,
        until_us=int(interactions.time_N.max()) + 1,
        horizon_us=DAY_US,
        cutoffs={},
        features=no_features(interactions.people, interactions.items),
    )
