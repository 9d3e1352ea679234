"""What is a pure function of folders: fit and evaluate. DVC's stages (stage.py) and the loop's verbs (verbs/) call these."""

import shutil
from pathlib import Path
from typing import Any

from counterfoil import canonical
from counterfoil.types import FamilyConfig
from flows.cost import Cost, measured

LIST_LENGTH = 10


def fit_into(dataset: Path, config: FamilyConfig, seed: int, threads: int, folder: Path) -> Cost:
    """Fit a family on what the dataset folder allows to learn from, save it into `folder`, and say what the fit cost."""
    from models import dataset as dataset_folder
    from models.families import family

    training = dataset_folder.read(dataset, threads=threads).training()
    with measured() as cost:
        model = family(config.family).fit(config, training, seed)
    emptied(folder).mkdir(parents=True)
    model.save(folder)
    return cost


def evaluate_into(model: Any, dataset: Path, threads: int, folder: Path) -> Any:
    """Score a model on the dataset's holdout, write units and metrics into `folder`, and return the scores."""
    from models import dataset as dataset_folder
    from models.evaluate import evaluate, write_units

    opened = dataset_folder.read(dataset, threads=threads)
    holdout = opened.holdout()
    until_us = opened.about["holdout_from_us"]
    scores = evaluate(
        model,
        holdout.query,
        holdout.truth,
        slices=holdout.slices,
        train_popularity_I=opened.history.between(None, until_us).matrix().getnnz(axis=0),
        k=LIST_LENGTH,
        unit_P=holdout.unit_P,
        category_I=opened.category_I,
    )
    emptied(folder).mkdir(parents=True)
    write_units(scores, folder / "units.parquet")
    (folder / "metrics.json").write_bytes(canonical.encode(scores.metrics))
    return scores


def emptied(folder: Path) -> Path:
    """Return the folder's path with nothing left of an earlier attempt."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder
