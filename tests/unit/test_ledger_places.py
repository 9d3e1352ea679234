"""Where signed heads go: the home's folder in any case, named places beside it, and what `doctor` says of that."""

from pathlib import Path

import pytest

from counterfoil.settings import Settings
from flows import doctor
from tests.ledger_home import DAYS, faults, history, judged, opened


def test_places_are_cut_at_commas_and_come_behind_the_homes_own(tmp_path: Path) -> None:
    own = str(tmp_path / "checkpoints")
    assert Settings(home=tmp_path).checkpoint_places == (own,)
    named = Settings(home=tmp_path, checkpoints="/mnt/a, https://witness.example/heads,")
    assert named.checkpoint_places == (own, "/mnt/a", "https://witness.example/heads")


def test_places_may_be_named_after_a_change_of_keys(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    history(home).catalog.change_key()
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("COUNTERFOIL_CHECKPOINTS", str(elsewhere))
    place = opened(home)
    judged(place, DAYS + 1)
    assert faults(place) == []
    assert len((elsewhere / "checkpoints.jsonl").read_text().splitlines()) == 1


def test_the_doctor_says_where_heads_lie(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    history(home)

    def said() -> tuple[str, str]:
        [found] = [one for one in doctor.examine()["findings"] if one["what"] == "ledger"]
        return found["state"], found["says"]

    assert said()[0] == "note" and "name a place elsewhere" in said()[1]
    monkeypatch.setenv("COUNTERFOIL_CHECKPOINTS", str(tmp_path / "elsewhere"))
    assert said()[0] == "ok"
