"""kill -9 amid a tuning: the same command goes on where it ended, tries nothing twice, and comes to the same."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from counterfoil.types import Attempt
from flows.steps import recorder
from flows.tune import tune_family
from flows.verify import verify
from models.tune import Budget
from tests.loop_shop import place_of, ran, small_case

ROOT = Path(__file__).resolve().parents[2]
TRIALS = 7


def told_of(home: Path) -> tuple[dict, list[str]]:
    place = place_of(home)
    memory = recorder(place)
    told = tune_family(place, small_case(), "repurchase", Budget(trials=TRIALS), memory)
    assert verify(place)["faults"] == []
    assert len(place.catalog.find(Attempt)) == TRIALS
    place.catalog.engine.dispose()
    return told, ran(memory.outcomes)


@pytest.fixture(scope="module")
def unkilled(turned: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return told_of(shutil.copytree(turned, tmp_path_factory.mktemp("unkilled") / "home"))[0]


@pytest.mark.parametrize(("when", "left"), [("amid", 3), ("before", 3), ("after", 4)])
def test_it_goes_on_where_it_was_killed_and_comes_to_the_same(
    turned: Path, unkilled: dict, tmp_path: Path, when: str, left: int
) -> None:
    home = shutil.copytree(turned, tmp_path / "home")
    command = [sys.executable, str(ROOT / "tests/faults/tune_killed.py"), str(home), when, "3", str(TRIALS)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(ROOT), "TZ": "UTC"},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    told, ran_after = told_of(home)
    tried = [name for name in ran_after if name.startswith("attempt")]
    assert tried == [f"attempt repurchase, trial {number}" for number in range(left, TRIALS)]

    def lasting(told: dict) -> dict:
        """Leave out how long trials took."""
        trials = [{key: value for key, value in one.items() if key != "seconds"} for one in told["trials"]]
        return {**told, "trials": trials}

    assert lasting(told) == lasting(unkilled)
