"""Two memories that agree: `dvc repro` in a clone arrives at the very addresses that the loop records in another clone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from counterfoil.settings import Settings
from counterfoil.store import manifest_of
from tests.loop_shop import land_shop, write_shop

pytestmark = pytest.mark.timeout(900)  # every DVC stage is a process of its own

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WORK = ".counterfoil/work/recommendation"
QUICK = ("repurchase", "itemknn")
ALL = tuple(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["fit"]["foreach"])
PEOPLE = 110

LOOP = """
import json, sys
from counterfoil.types import Candidate, Dataset, Evaluation
from flows.place import open_place
from flows.running import as_of_or_latest
from flows.steps import recorder, steps
from flows.use_cases import use_case

place, case = open_place(), use_case("recommendation")
do, as_of = steps(place, recorder(place)), as_of_or_latest(place, None)
dataset = do.snapshot(case.name, case.features, as_of, do.days(as_of), do.tables(), ())
for config in case.contenders:
    if config.family in sys.argv[1:]:
        do.evaluate(dataset, do.fit(case.name, dataset, config, case.seed))
"""


def in_clone(clone: Path, *command: str) -> str:
    """Run a command on the clone's own code; return what it printed. The assertion shows what it complained of."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(clone)}
    for name in ("COUNTERFOIL_HOME", "PREFECT_HOME", "BENTOML_HOME"):
        environment.pop(name, None)
    done = subprocess.run(
        command,
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def dvc(clone: Path, *arguments: str) -> str:
    return in_clone(clone, sys.executable, "-m", "dvc", *arguments)


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two clones of the project, with the same shop landed in both."""
    folder = tmp_path_factory.mktemp("clones")
    first, second = folder / "first", folder / "second"
    for clone in (first, second):
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    land_shop(Settings(home=first / ".counterfoil"), write_shop(folder / "shop", days=96, people=PEOPLE))
    shutil.copytree(first / ".counterfoil", second / ".counterfoil")
    return first, second


def addresses_in_lock(clone: Path) -> dict[str, str]:
    """Return DVC's address of every cached folder, by its name below the work folder."""
    stages = yaml.safe_load((clone / "dvc.lock").read_text())["stages"].values()
    outs = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", ())}
    return {
        path.removeprefix(WORK + "/"): address for path, address in outs.items() if address.endswith(".dir")
    }


def addresses_in_catalog(clone: Path) -> dict[str, str]:
    """Return the address of every version that the loop recorded, by DVC's name for it; refits with other seeds left out."""
    from counterfoil.catalog import Catalog
    from counterfoil.types import Candidate, Dataset, Evaluation

    catalog = Catalog(f"sqlite:///{clone / '.counterfoil/catalog.sqlite'}")
    [dataset] = catalog.find(Dataset)
    found = {"dataset": dataset.address}
    found |= {f"candidates/{made.family}": made.address for made in catalog.find(Candidate) if not made.seed}
    found |= {
        f"evaluations/{made.family}": made.address for made in catalog.find(Evaluation) if not made.seed
    }
    catalog.engine.dispose()
    return found


def names(families: tuple[str, ...]) -> set[str]:
    return {"dataset", *(f"{kind}/{family}" for kind in ("candidates", "evaluations") for family in families)}


def ran(said: str) -> int:
    return said.count("Running stage")


@pytest.fixture(scope="module")
def reproduced(clones: tuple[Path, Path]) -> tuple[Path, Path, str]:
    """The first clone after `dvc repro` of the quick contenders, the second after the loop did the same."""
    first, second = clones
    said = dvc(first, "repro", *[f"evaluate@{family}" for family in QUICK])
    in_clone(second, sys.executable, "-c", LOOP, *QUICK)
    return first, second, said


def test_dvc_and_the_loop_arrive_at_the_same_addresses(reproduced: tuple[Path, Path, str]) -> None:
    first, second, said = reproduced
    assert ran(said) == 1 + 2 * len(QUICK)
    assert addresses_in_lock(first).keys() == names(QUICK)
    assert addresses_in_lock(first) == addresses_in_catalog(second)


def test_the_bytes_are_the_same_too(reproduced: tuple[Path, Path, str]) -> None:
    """DVC's MD5 is no security digest; the loop's SHA-256 manifests hold for what DVC made."""
    from counterfoil.catalog import Catalog

    first, second, _ = reproduced
    catalog = Catalog(f"sqlite:///{second / '.counterfoil/catalog.sqlite'}")
    for name, address in addresses_in_catalog(second).items():
        assert manifest_of(first / WORK / name) == catalog.stored(address).manifest, name
    catalog.engine.dispose()


def test_a_second_repro_runs_nothing(reproduced: tuple[Path, Path, str]) -> None:
    first, _, _ = reproduced
    said = dvc(first, "repro", *[f"evaluate@{family}" for family in QUICK])
    assert ran(said) == 0 and "up to date" in said


def test_metrics_are_those_of_the_evaluations(reproduced: tuple[Path, Path, str]) -> None:
    first, _, _ = reproduced
    shown = json.loads(dvc(first, "metrics", "show", "--json", f"{WORK}/metrics/itemknn.json"))
    [found] = shown[""]["data"].values()
    assert found["data"] == json.loads((first / WORK / "evaluations/itemknn/metrics.json").read_text())
    assert 0 < found["data"]["ndcg@10"] < 1
    told = json.loads((first / WORK / "told/itemknn.json").read_text())
    assert {"units", "ndcg@10"} <= told["slices"]["light people"].keys() and told["curve"] == []


@pytest.mark.slow
def test_the_whole_of_it(tmp_path: Path, clones: tuple[Path, Path]) -> None:
    """Every stage of dvc.yaml against `counterfoil run`; metrics, plots, another as-of, and an earlier version restored."""
    first, second = clones
    assert ran(dvc(first, "repro")) >= 2 * len(ALL) + 1 - 2 * len(QUICK)
    turned = json.loads(in_clone(second, "counterfoil", "run", "recommendation", "--json"))
    recorded = addresses_in_catalog(second)
    assert addresses_in_lock(first).keys() == names(ALL)
    assert addresses_in_lock(first) == recorded
    assert ran(dvc(first, "repro")) == 0

    metrics = json.loads(dvc(first, "metrics", "show", "--json"))[""]["data"]
    measured = {Path(path).stem: found["data"]["ndcg@10"] for path, found in metrics.items()}
    decided = {contender["family"]: contender["value"] for contender in turned["contenders"]}
    assert measured.keys() == set(ALL)
    assert {family: measured[family] for family in decided} == pytest.approx(decided, abs=1e-12)
    page = dvc(first, "plots", "show", "-o", str(tmp_path / "plots"))
    drawn = (tmp_path / "plots/index.html").read_text()
    titles = ("Contenders on the holdout", "NDCG@10 against coverage@10", "NDCG@10 by slice")
    assert "index.html" in page and all(title in drawn for title in titles)

    again = json.loads(in_clone(second, "counterfoil", "run", "recommendation", "--json"))
    assert again["ran"] == [] and len(again["skipped"]) > 2 * len(ALL)
    assert again["release"] == turned["release"]

    before = addresses_in_lock(first)
    (first / "params.yaml").write_text("recommendation:\n  as_of: '2024-04-03'\n")
    assert ran(dvc(first, "repro", "snapshot")) == 1
    earlier = addresses_in_lock(first)["dataset"]
    assert earlier != before["dataset"]
    subprocess.run(["git", "checkout", "-q", "params.yaml"], cwd=first, check=True)
    assert "run-cache" in dvc(first, "repro", "snapshot") or addresses_in_lock(first) == before
    restored = json.loads(
        in_clone(second, "counterfoil", "restore", turned["dataset"], str(tmp_path / "restored"), "--json")
    )
    assert restored["address"] == recorded["dataset"]
    assert manifest_of(tmp_path / "restored") == manifest_of(first / WORK / "dataset")


@pytest.mark.parametrize("stage", ["fit", "evaluate"])
def test_every_family_has_its_stage(stage: str) -> None:
    from flows.use_cases import use_case

    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert stages[stage]["foreach"] == [config.family for config in use_case("recommendation").contenders]


def test_dvc_watches_the_code_that_the_seam_watches() -> None:
    """A change that makes the loop run a verb again must make DVC run its stage again."""
    from flows.place import CODE

    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for verb in ("snapshot", "fit", "evaluate"):
        watched = stages[verb].get("do", stages[verb])["deps"]
        assert set(CODE[verb]) <= set(watched), verb
