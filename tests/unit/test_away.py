"""What goes to the remote and leaves this machine: heads, versions, sealed receipts; found and proven from there."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from counterfoil import settings as reader
from counterfoil.errors import ConfigError, UnavailableError, UnknownError
from counterfoil.settings import Settings
from counterfoil.types import Candidate, Receipt
from flows import sealing
from flows.away import push
from flows.book import prove_in
from flows.place import Place, place_of
from flows.verify import verify
from tests.ledger_home import rewritten

OLD = datetime.now(UTC) - timedelta(days=40)


@pytest.fixture
def place(turned: Path, tmp_path: Path) -> Place:
    home = shutil.copytree(turned, tmp_path / "home")
    return place_of(Settings(home=home, remote=str(tmp_path / "far"), receipt_days=30))


def answered(place: Place, moment: datetime) -> Receipt:
    release = place.catalog.champion("small")
    assert release is not None
    receipts = place.receipts
    stub = Receipt(
        id=receipts.new_id(moment), time=moment, use_case="small", release=release.id, bento=release.tag,
        epoch=release.epoch, person="p1", request={}, items=(), rules=(), features={}, feature_time=None, degraded=(),
    )  # fmt: skip
    receipts.write(stub)
    receipts.close()
    return stub


def test_old_receipts_leave_and_are_found_and_proven_from_afar(place: Place, tmp_path: Path) -> None:
    old, new = answered(place, OLD), answered(place, datetime.now(UTC))
    sealing.seal(place, quiet_seconds=0)
    told = push(place)
    assert told["versions"] == len(place.catalog.addresses()) and (told["segments"], told["let_go"]) == (2, 1)
    assert push(place) == {"versions": 0, "segments": 0, "let_go": 0}
    here = place.receipts.sealed_segments()
    assert [path.stem for path in here] == [new.id.split("-", 1)[1].rsplit("-", 1)[0]]
    assert verify(place)["faults"] == []
    assert place.receipts.find(old.id) == old
    assert prove_in(place, old.id)["receipt"]
    with pytest.raises(UnknownError):
        place.receipts.find(old.id.rsplit("-", 1)[0] + "-99")
    assert push(place)["let_go"] == 1
    [far] = (tmp_path / "far").rglob(f"{OLD:%Y%m%d}*.parquet")
    far.unlink()
    assert any("neither here nor in the remote" in fault for fault in verify(place)["faults"])
    with pytest.raises(UnknownError):
        place.receipts.find(old.id)


def test_an_altered_receipt_in_the_remote_is_named_and_stops_letting_go(place: Place, tmp_path: Path) -> None:
    answered(place, OLD)
    sealing.seal(place, quiet_seconds=0)
    push(place)
    [far] = (tmp_path / "far").rglob(f"{OLD:%Y%m%d}*.parquet")
    raw = bytearray(far.read_bytes())
    raw[len(raw) // 3] ^= 1
    far.write_bytes(bytes(raw))
    assert verify(place)["faults"]


def test_a_version_that_the_cache_lost_comes_back(place: Place) -> None:
    push(place)
    shutil.rmtree(place.settings.home / ".dvc" / "cache")
    shutil.rmtree(place.settings.work / "opened", ignore_errors=True)
    candidate = place.catalog.find(Candidate)[0]
    assert place.opened(candidate.address, candidate.sha256).is_dir()


def test_heads_lie_in_the_remote_and_tell_of_a_ledger_that_was_cut(place: Place, tmp_path: Path) -> None:
    push(place)
    place.catalog.checkpoint()
    heads = sorted((tmp_path / "far" / "counterfoil" / "heads").iterdir())
    notes = [orjson.loads(path.read_bytes())["note"] for path in heads]
    assert notes and int(notes[-1].splitlines()[1]) == int(heads[-1].name.split("-")[0])
    shutil.rmtree(place.settings.home / "checkpoints")  # whoever owns the home can do that
    rewritten(place, lambda entries: entries.__delitem__(slice(5, None)))
    assert any("the last ones are gone" in fault for fault in verify(place)["faults"])
    shutil.rmtree(tmp_path / "far" / "counterfoil" / "heads")
    assert not any("the last ones are gone" in fault for fault in verify(place)["faults"])


def test_a_remote_that_is_down_keeps_what_was_written_here(place: Place, tmp_path: Path) -> None:
    size = len(place.catalog.addresses())
    (tmp_path / "far").write_text("no folder")
    with pytest.raises(UnavailableError, match="the remote"):
        place.catalog.checkpoint()
    assert len(place.catalog.addresses()) == size


def test_without_a_remote_nothing_may_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERFOIL_HOME", str(tmp_path))
    monkeypatch.setenv("COUNTERFOIL_RECEIPT_DAYS", "30")
    with pytest.raises(ConfigError, match="COUNTERFOIL_REMOTE"):
        reader.load()
    with pytest.raises(ConfigError, match="COUNTERFOIL_REMOTE"):
        push(place_of(Settings(home=tmp_path)))
