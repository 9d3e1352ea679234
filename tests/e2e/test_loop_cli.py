"""The command line over the loop: exit codes, one object for machines, no traceback, and quick when it only speaks."""

import json
import os
import resource
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counterfoil import cli
from counterfoil.types import Candidate, Dataset, Receipt, ReceiptItem
from flows import machine
from tests.loop_shop import DAYS, END, place_of

HEAVY = {
    "torch",
    "feast",
    "prefect",
    "great_expectations",
    "bentoml",
    "dvc",
    "xgboost",
    "pandas",
    "sqlalchemy",
    "duckdb",
}


class Said:
    """How a command ended: its exit code, what it printed for machines, what it complained of."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def counterfoil(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command line in this process, on the home of this test."""

    def run(*arguments: str) -> Said:
        monkeypatch.setattr("sys.argv", ["counterfoil", *arguments])
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


@pytest.fixture
def used(turned: Path, home: Path) -> Path:
    """The home of this test holds a loop that was turned once."""
    shutil.copytree(turned, home, dirs_exist_ok=True)
    return home


WRONG: list[tuple[tuple[str, ...], int, str, str]] = [
    (("nonsense",), 2, "InputError", "nonsense"),
    (("run", "--nonsense"), 2, "InputError", "--nonsense"),
    (("run", "recommendation", "extra"), 2, "InputError", "extra"),
    (("receipt", "show"), 2, "InputError", "ID"),
    (("receipt", "burn", "x"), 2, "InputError", "burn"),
    (("data", "import"), 2, "InputError", "kind"),
    (("data", "import", "telepathy", "x"), 2, "UnknownError", "telepathy"),
    (("data", "import", "contract", "no/such/file.csv"), 2, "ContractError", "no/such/file.csv"),
    (("data", "simulate", "--events", "many"), 2, "InputError", "--events"),
    (("data", "quarantine", "nope"), 2, "UnknownError", "nope"),
    (("run", "astrology"), 2, "UnknownError", "astrology"),
    (("run", "recommendation"), 2, "InputError", "nothing has landed"),
    (("compare", "astrology"), 2, "UnknownError", "astrology"),
    (("tune", "astrology", "als"), 2, "UnknownError", "astrology"),
    (("tune", "recommendation", "telepathy"), 2, "UnknownError", "telepathy"),
    (("tune", "recommendation", "als"), 2, "UnknownError", "counterfoil run recommendation"),
    (("tune", "recommendation", "als", "--minutes", "0"), 2, "InputError", "0 minutes"),
    (("tune", "recommendation", "als", "--trials", "0"), 2, "InputError", "0 trials"),
    (("receipt", "show", "nope"), 2, "UnknownError", "nope"),
    (("receipt", "show", "../../etc/passwd"), 2, "UnknownError", "passwd"),
    (
        ("receipt", "show", "receipt-20260412T093401-7f3a9c1e-12"),
        2,
        "UnknownError",
        "receipt-20260412T093401",
    ),
    (("lineage", "nope"), 2, "UnknownError", "nope"),
    (("lineage", "candidate-0000000000000000"), 2, "UnknownError", "candidate-0000000000000000"),
    (("restore", "dataset-0000000000000000", "out"), 2, "UnknownError", "dataset-0000000000000000"),
    (("restore", "0" * 32 + ".dir", "out"), 2, "UnknownError", "0" * 32),
    (("schedule",), 7, "UnavailableError", "counterfoil up"),
]


@pytest.mark.parametrize(("arguments", "code", "kind", "names"), WRONG, ids=[" ".join(w[0]) for w in WRONG])
def test_what_is_wrong_is_one_sentence_and_one_object(
    counterfoil: Any, arguments: tuple[str, ...], code: int, kind: str, names: str
) -> None:
    said = counterfoil(*arguments, "--json")
    assert said.code == code
    assert said.json.keys() == {"error", "kind"} and said.json["kind"] == kind
    assert names in said.json["error"] and "\n" not in said.json["error"]
    assert "Traceback" not in said.err
    assert counterfoil(*arguments).code == code


@pytest.mark.parametrize(
    ("arguments", "empty"),
    [
        (("models",), {"candidates": [], "releases": []}),
        (("down",), dict.fromkeys((*machine.BEFORE, *machine.AFTER), False)),
        (
            ("status",),
            {
                "processes": [],
                **dict.fromkeys(("champion", "challenger", "answers", "ruling")),
                **{name: {"url": None} for name in ("gateway", "collector", "service", "console")},
                "trouble": {},
            },
        ),
    ],
)
def test_an_empty_installation_is_no_error(counterfoil: Any, arguments: tuple[str, ...], empty: Any) -> None:
    said = counterfoil(*arguments, "--json")
    assert (said.code, said.json) == (0, empty)
    assert counterfoil(*arguments).code == 0


@pytest.mark.parametrize("as_of", ["yesterday", "2024-13-01", "2019-05-01"])
def test_a_wrong_moment_is_said(counterfoil: Any, used: Path, as_of: str) -> None:
    said = counterfoil("run", "recommendation", "--as-of", as_of, "--json")
    assert (said.code, said.json["kind"]) == (2, "InputError")
    assert as_of in said.json["error"]


def test_verify_says_what_it_proved(counterfoil: Any, used: Path) -> None:
    said = counterfoil("verify", "--json")
    assert said.code == 0 and said.json["verified"] is True, said.out + said.err
    assert said.json["checked"]["landed files"] == DAYS + 2
    assert "verified" in counterfoil("verify").out


def test_models_and_compare_speak_of_the_use_case(counterfoil: Any, used: Path) -> None:
    listed = counterfoil("models", "small", "--json").json
    assert [row["epoch"] for row in listed["releases"]] == [1]
    assert {row["family"] for row in listed["candidates"]} == {"popularity", "repurchase"}
    assert all(0 < row["metrics"]["ndcg@10"] < 1 for row in listed["candidates"])
    compared = counterfoil("compare", "small", "--json").json
    assert compared["decision"]["verb"] == "promote" and compared["release"].startswith("release-")
    assert "repurchase" in counterfoil("compare", "small").out


def test_the_page_of_the_newest_decision_is_written_where_it_is_wanted(
    counterfoil: Any, used: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    compared = counterfoil("compare", "small", "--html", str(page), "--json").json
    assert compared["report"] == str(page) and compared["decision"]["id"] in page.read_text()
    own = Path(counterfoil("compare", "small", "--json").json["report"])
    assert own.is_relative_to(used / "reports/small") and own.read_bytes() == page.read_bytes()
    refused = counterfoil("compare", "small", "--html", str(tmp_path / "gone" / "page.html"), "--json")
    assert (refused.code, refused.json["kind"]) == (2, "InputError") and "gone" in refused.json["error"]


def test_an_earlier_version_is_restored_by_name_and_by_address(
    counterfoil: Any, used: Path, tmp_path: Path
) -> None:
    from counterfoil.store import manifest_of

    place = place_of(used)
    [dataset] = place.catalog.find(Dataset)
    by_name = counterfoil("restore", dataset.id, str(tmp_path / "a"), "--json").json
    by_address = counterfoil("restore", dataset.address, str(tmp_path / "b"), "--json").json
    assert by_name["address"] == by_address["address"] == dataset.address
    assert (
        manifest_of(tmp_path / "a")
        == manifest_of(tmp_path / "b")
        == place.catalog.stored(dataset.address).manifest
    )
    again = counterfoil("restore", dataset.id, str(tmp_path / "a"), "--json")
    assert (again.code, again.json["kind"]) == (2, "InputError")
    release = place.catalog.champion("small").id
    assert counterfoil("restore", release, str(tmp_path / "c"), "--json").code == 2
    place.catalog.engine.dispose()


def test_lineage_of_a_receipt_leads_to_the_rows_and_their_verdicts(counterfoil: Any, used: Path) -> None:
    from counterfoil.receipts import Receipts

    place = place_of(used)
    release = place.catalog.champion("small")
    receipts = Receipts(place.settings.receipts)
    now = datetime(2024, 6, 1, tzinfo=UTC)
    stub = Receipt(
        id=receipts.new_id(now),
        time=now,
        use_case="small",
        release=release.id,
        bento=release.tag,
        epoch=1,
        person="p",
        request={},
        items=(ReceiptItem(item="i001", score=1.0, sources=("repurchase",), reasons=("bought before",)),),
        rules=(),
        features={},
        feature_time=END,
        degraded=(),
    )
    receipts.write(stub)
    receipts.close()
    shown = counterfoil("receipt", "show", stub.id, "--json")
    assert shown.code == 0 and shown.json["release"] == release.id
    walked = counterfoil("lineage", stub.id, "--json").json
    chain = {step["id"]: step for step in walked["chain"]}
    kinds = [step["kind"] for step in walked["chain"]]
    assert kinds[0] == "receipt" and kinds.count("verdict") == DAYS + 1
    assert {"release", "bento", "decision", "evaluation", "candidate", "dataset"} <= set(kinds)
    [dataset] = place.catalog.find(Dataset)
    assert chain[dataset.id]["address"] == dataset.address and chain[dataset.id]["sha256"] == dataset.sha256
    assert all(chain[made.id]["code_version"] for made in place.catalog.find(Candidate))
    assert "verdicts: " in counterfoil("lineage", stub.id).out
    place.catalog.engine.dispose()


def test_help_is_quick_and_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom counterfoil.cli import main\nsys.argv = ['counterfoil', '--help']\n"
        "try:\n    main()\nfinally:\n    print('loaded', *sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "COUNTERFOIL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "verify" in done.stdout and "lineage" in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split())
    assert loaded.isdisjoint(HEAVY)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5
    assert not any(tmp_path.iterdir()), "asking for help leaves nothing behind"
