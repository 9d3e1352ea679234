"""The DVC remote: versions there and back, files by name, and what is said when it is gone."""

import shutil
from pathlib import Path

import pytest

from counterfoil.errors import ConfigError, UnavailableError
from counterfoil.remote import Remote
from counterfoil.store import Store


def stored(tmp_path: Path) -> tuple[Store, str]:
    folder = tmp_path / "version"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("one")
    (folder / "deep" / "b.txt").write_text("two")
    store = Store(tmp_path / "home")
    return store, store.put(folder).address


def test_a_version_goes_to_the_remote_and_comes_back(tmp_path: Path) -> None:
    store, address = stored(tmp_path)
    remote = Remote(store.root, str(tmp_path / "far"))
    assert remote.push(address) and not remote.push(address)
    shutil.rmtree(store.root / ".dvc" / "cache")
    assert not store.has(address)
    assert remote.pull(address) and store.has(address)
    assert not remote.pull("0" * 32 + ".dir")
    remote.drop([address, address])
    assert not remote.has(address)


def test_files_lie_beside_under_their_names(tmp_path: Path) -> None:
    store, _ = stored(tmp_path)
    remote = Remote(store.root, str(tmp_path / "far"))
    assert remote.names("receipts") == [] and remote.size("receipts/x") is None
    remote.put(tmp_path / "version" / "a.txt", "receipts/2026-01-01/x.parquet")
    remote.write(b"head", "heads/1.json")
    assert remote.names("receipts") == ["receipts/2026-01-01/x.parquet"]
    assert remote.size("receipts/2026-01-01/x.parquet") == 3 and remote.read("heads/1.json") == b"head"
    assert remote.get("heads/1.json", tmp_path / "here" / "1.json") and not remote.get(
        "heads/2.json", tmp_path / "no"
    )
    assert (tmp_path / "here" / "1.json").read_bytes() == b"head" and not (tmp_path / "no").exists()
    remote.erase("heads/1.json")
    remote.erase("heads/1.json")
    assert remote.names("heads") == []


def test_a_remote_by_the_name_that_dvc_knows_it_by(tmp_path: Path) -> None:
    store, address = stored(tmp_path)
    with (store.root / ".dvc" / "config").open("a") as file:
        file.write(f"['remote \"depot\"']\n    url = {tmp_path / 'depot'}\n")
    assert Remote(store.root, "depot").push(address)
    with pytest.raises(ConfigError, match="attic"):
        Remote(store.root, "attic").push(address)


def test_a_remote_that_refuses_is_said_in_one_sentence(tmp_path: Path) -> None:
    store, address = stored(tmp_path)
    (tmp_path / "far").write_text("a file where the remote should be")
    with pytest.raises(UnavailableError, match="nothing is lost here"):
        Remote(store.root, str(tmp_path / "far")).push(address)
