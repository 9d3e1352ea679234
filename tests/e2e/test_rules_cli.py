"""`counterfoil rules`: set, shown, checked, and refused whole when anything is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from bentos.recommend import rulebook
from counterfoil import cli

GOOD = {
    "boosts": [{"name": "summer", "brands": ["Acme"], "factor": 2, "until": "2030-09-01T00:00:00Z"}],
    "caps": {"brand": 3},
}


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `counterfoil rules ...`; return exit code, and what it printed."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["counterfoil", "rules", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, capsys.readouterr().out

    return call


def test_rules_are_set_whole_shown_and_kept(run: Any, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(GOOD))
    assert (
        run("show", "--json") == (0, run("show", "--json")[1])
        and json.loads(run("show", "--json")[1])["digest"] is None
    )
    code, out = run("set", str(file), "--json")
    told = json.loads(out)
    assert code == 0 and told["list"] == [
        {
            "kind": "boost",
            "name": "summer",
            "from": None,
            "until": "2030-09-01T00:00:00Z",
            "routes": "all",
            "holds": True,
        }
    ]
    assert json.loads(run("show", "--json")[1]) == told
    assert rulebook.kept_at(home / rulebook.KEPT, told["digest"]).is_file()
    assert "summer" in run("show")[1] and told["digest"] in run("show")[1]


def test_wrong_rules_change_nothing(run: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(GOOD))
    bad.write_text(json.dumps({**GOOD, "pins": [{"name": "x", "item": "a", "place": 1000}]}))
    run("set", str(good))
    before = run("show", "--json")
    for command in ("set", "check"):
        code, out = run(command, str(bad), "--json")
        assert code == 2 and "pins.0.place" in json.loads(out)["error"]
        assert run(command, str(tmp_path / "none.json"), "--json")[0] == 2
    assert run("show", "--json") == before


def test_names_that_the_serving_catalogue_does_not_have_are_told(
    turned: Path, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.json"
    excludes = {"items": ["i001", "i00"], "categories": ["shelf 3", "shelf 333"], "sellers": ["Bazaar"]}
    rules = {
        "excludes": [{"name": "x", **excludes}],
        "caps": {"category": 3, "brand": 3, "seller": 2},
    }
    file.write_text(json.dumps({**GOOD, **rules}))
    assert json.loads(run("check", str(file), "--json")[1])["unknown"] is None  # nothing serves in this home
    monkeypatch.setenv("COUNTERFOIL_HOME", str(turned))
    unknown = json.loads(run("check", str(file), "--json")[1])["unknown"]
    assert unknown == {
        "items": ["i00"],
        "categories": ["shelf 333"],
        "brands": ["Acme"],
        "sellers": ["Bazaar"],
        "caps": ["brand", "seller"],  # no item of that shop has a brand or a seller
    }
    assert not (turned / "run" / rulebook.FILE).exists()
