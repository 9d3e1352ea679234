"""DVC's entry to the pure verbs: `counterfoil stage VERB USECASE [FAMILY]`, on the folders that dvc.yaml names.

The same functions as in the loop on the same inputs, so `dvc repro` arrives at the very addresses that the catalog holds.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml

from counterfoil.errors import InputError
from counterfoil.types import UseCase
from flows import pure, verbs
from flows.place import Place, open_place
from flows.running import as_of_or_latest, only_run
from flows.snapshot import write_dataset
from flows.use_cases import use_case

PARAMS = "params.yaml"
CURVE = "curve.json"  # what a family may leave in its artefact of how it learned


def run(verb: str, use_case_name: str, family: str | None) -> None:
    """Run one stage. InputError when there is no such verb, or the family is not a contender.

    ConflictError while the loop is turned here: it works in the same folders.
    """
    place, case = open_place(), use_case(use_case_name)
    with only_run(place, case.name):
        _run(place, case, verb, family)


def _run(place: Place, case: UseCase, verb: str, family: str | None) -> None:
    folder = place.settings.work / case.name
    if verb == "snapshot":
        _snapshot(place, case, folder)
    elif verb == "compare":
        write_tables([config.family for config in case.contenders], case.gate.primary, folder)
    elif verb in ("fit", "evaluate"):
        config = next((config for config in case.contenders if config.family == family), None)
        if config is None:
            families = ", ".join(config.family for config in case.contenders)
            raise InputError(f"{family!r} is no contender of {case.name}; there are {families}")
        candidate = folder / "candidates" / config.family
        if verb == "fit":
            pure.fit_into(folder / "dataset", config, case.seed, place.settings.threads, candidate)
        else:
            _evaluate(place, folder, config.family, candidate)
    else:
        raise InputError(f"{verb!r} is no stage; there are snapshot, fit, evaluate, compare")


def _snapshot(place: Place, case: UseCase, folder: Path) -> None:
    wanted = yaml.safe_load((place.settings.project / PARAMS).read_text())[case.name]["as_of"]
    as_of = as_of_or_latest(place, str(wanted))
    write_dataset(
        place.settings, case.features, as_of, verbs.days(place, as_of), pure.emptied(folder / "dataset")
    )


def _evaluate(place: Place, folder: Path, family: str, candidate: Path) -> None:
    from models.families import family as registered

    model = registered(family).load(candidate)
    scores = pure.evaluate_into(
        model, folder / "dataset", place.settings.threads, folder / "evaluations" / family
    )
    curve = candidate / CURVE
    told = {
        "slices": scores.slices,
        "curve": orjson.loads(curve.read_bytes()) if curve.is_file() else [],
    }
    for kind, value in (("metrics", scores.metrics), ("told", told)):
        path = folder / kind / f"{family}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2))


def write_tables(families: Sequence[str], primary: str, folder: Path) -> None:
    """Write the tables that `dvc plots` draws: a row per contender, per contender and slice, and per step of learning."""
    metrics = {family: _read(folder / "metrics" / f"{family}.json") for family in families}
    told = {family: _read(folder / "told" / f"{family}.json") for family in families}
    write_csv(
        folder / "contenders.csv",
        ["family"],
        [
            {"family": family, **{name: round(found[name], 6) for name in sorted(found)}}
            for family, found in metrics.items()
        ],
    )
    write_csv(
        folder / "slices.csv",
        ["family", "slice", "units", primary],
        [
            {"family": family, "slice": name, "units": int(found["units"])}
            | {primary: round(found[primary], 6)}
            for family in families
            for name, found in told[family]["slices"].items()
            if primary in found
        ],
    )
    write_csv(
        folder / "curves.csv",
        ["family", "step", "loss"],
        [
            {"family": family, "step": step["step"], "loss": round(step["loss"], 6)}
            for family in families
            for step in told[family]["curve"]
            if "loss" in step
        ],
    )


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


def write_csv(path: Path, names: list[str], rows: list[dict[str, Any]]) -> None:
    """Write a table; columns that are not named first follow in the order of their names."""
    others = sorted({name for row in rows for name in row} - set(names))
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [*names, *others])
        table.writeheader()
        table.writerows(rows)
