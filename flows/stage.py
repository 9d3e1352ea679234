"""DVC's entry to the pure verbs: `counterfoil stage VERB USECASE [FAMILY]`, on the folders that dvc.yaml names.

The same functions as in the loop on the same inputs, so `dvc repro` arrives at the very addresses that the catalog holds.
"""

import csv
from pathlib import Path

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
        _compare(case, folder)
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
    metrics = folder / "metrics" / f"{family}.json"
    metrics.parent.mkdir(parents=True, exist_ok=True)
    metrics.write_bytes(orjson.dumps(scores.metrics, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2))


def _compare(case: UseCase, folder: Path) -> None:
    """Write one row per contender, for `dvc plots`."""
    rows = []
    for config in case.contenders:
        metrics = orjson.loads((folder / "metrics" / f"{config.family}.json").read_bytes())
        rows.append({"family": config.family, **{name: round(metrics[name], 6) for name in sorted(metrics)}})
    names = ["family", *sorted({name for row in rows for name in row} - {"family"})]
    with (folder / "contenders.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(rows)
