"""The store: DVC's own addresses, checked by SHA-256, and nothing half-written whoever dies or writes at the same time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from counterfoil.errors import ConflictError, IntegrityError, UnknownError
from counterfoil.store import Store, Stored, manifest_of

PUT = """
import sys
from pathlib import Path
from counterfoil.store import Store
print(Store(Path(sys.argv[1])).put(Path(sys.argv[2])).address)
"""


def folder_of(path: Path, **files: str) -> Path:
    """Write files by name, `_` standing for the slash."""
    for name, content in files.items():
        target = path / name.replace("_", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two levels, an empty file and twice the same content."""
    return folder_of(tmp_path / "folder", a="alpha", sub_b="beta", sub_deep_c="alpha", empty="")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def object_of(store: Store, stored: Stored, name: str) -> Path:
    """Return the cache's file of a name, made writable."""
    path = store._files(stored.address)[name]
    path.chmod(0o644)
    return path


def test_the_address_is_the_one_that_dvc_gives(store: Store, folder: Path, tmp_path: Path) -> None:
    stored = store.put(folder)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    folder.rename(scratch / "folder")
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "-q"], cwd=scratch, check=True)
    subprocess.run([*dvc, "add", "-q", "folder"], cwd=scratch, check=True)
    [out] = yaml.safe_load((scratch / "folder.dvc").read_text())["outs"]
    assert (out["md5"], out["nfiles"]) == (stored.address, 4)
    theirs, ours = scratch / ".dvc/cache/files/md5", store.root / ".dvc/cache/files/md5"
    assert manifest_of(ours) == manifest_of(theirs)


def test_the_stores_repository_is_one_that_dvc_reads(store: Store, folder: Path) -> None:
    from dvc.repo import Repo

    store.put(folder)
    with Repo(str(store.root)) as repo:
        assert repo.config["core"]["no_scm"] is True and repo.config["core"]["analytics"] is False
        assert Path(repo.cache.local.path) == store.root / ".dvc/cache/files/md5"


def test_literal_manifest(store: Store, folder: Path) -> None:
    stored = store.put(folder)
    assert stored.manifest == {
        "a": "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8",
        "empty": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sub/b": "f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753",
        "sub/deep/c": "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8",
    }
    assert stored.bytes == 14
    assert stored.address.endswith(".dir")


def test_fetch_gives_the_same_files(store: Store, folder: Path, tmp_path: Path) -> None:
    stored = store.put(folder)
    out = store.fetch(stored.address, stored.sha256, tmp_path / "deep" / "out")
    assert manifest_of(out) == stored.manifest
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_copy_that_was_altered_is_laid_out_anew(store: Store, folder: Path, tmp_path: Path) -> None:
    stored = store.put(folder)
    out = store.fetch(stored.address, stored.sha256, tmp_path / "out")
    (out / "a").write_text("mine")
    (out / "more").write_text("x")
    assert manifest_of(store.fetch(stored.address, stored.sha256, out)) == stored.manifest


def test_a_sound_copy_is_kept_untouched(store: Store, folder: Path, tmp_path: Path) -> None:
    stored = store.put(folder)
    out = store.fetch(stored.address, stored.sha256, tmp_path / "out")
    inode = (out / "a").stat().st_ino
    assert (store.fetch(stored.address, stored.sha256, out) / "a").stat().st_ino == inode


def test_putting_twice_writes_nothing(store: Store, folder: Path) -> None:
    first = store.put(folder)
    before = {p: p.stat().st_mtime_ns for p in (store.root / ".dvc/cache").rglob("*") if p.is_file()}
    assert store.put(folder) == first
    assert {p: p.stat().st_mtime_ns for p in (store.root / ".dvc/cache").rglob("*") if p.is_file()} == before


def test_the_source_may_change_after_it_was_put(store: Store, folder: Path, tmp_path: Path) -> None:
    stored = store.put(folder)
    (folder / "a").write_text("something else")
    assert store.check(stored.address, stored.manifest) == []


def test_a_flipped_bit_is_named_and_refused(store: Store, folder: Path, tmp_path: Path) -> None:
    stored = store.put(folder)
    path = object_of(store, stored, "sub/b")
    raw = bytearray(path.read_bytes())
    raw[0] ^= 1
    path.write_bytes(raw)
    path.chmod(0o444)
    assert store.check(stored.address, stored.manifest) == [f"sub/b in {stored.address} was altered"]
    with pytest.raises(IntegrityError, match="not what was recorded"):
        store.fetch(stored.address, stored.sha256, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_lost_file_is_named_and_refused(store: Store, folder: Path, tmp_path: Path) -> None:
    stored = store.put(folder)
    object_of(store, stored, "sub/b").unlink()
    [fault] = store.check(stored.address, stored.manifest)
    assert "lost sub/b" in fault
    assert not store.has(stored.address)
    with pytest.raises(UnknownError, match="lost sub/b"):
        store.fetch(stored.address, stored.sha256, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_an_altered_list_of_files_is_named_and_refused(store: Store, folder: Path, tmp_path: Path) -> None:
    stored = store.put(folder)
    tree = store._object(stored.address)
    tree.chmod(0o644)
    tree.write_bytes(tree.read_bytes().replace(b'"a"', b'"z"'))
    [fault] = store.check(stored.address, stored.manifest)
    assert "file list" in fault and not store.has(stored.address)
    with pytest.raises(IntegrityError, match="file list"):
        store.fetch(stored.address, stored.sha256, tmp_path / "out")


def test_another_manifest_than_the_stored_bytes_is_refused(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    stored = store.put(folder)
    assert store.check(stored.address, {**stored.manifest, "ghost": "00"}) == [
        f"ghost is missing from {stored.address}"
    ]
    with pytest.raises(IntegrityError):
        store.fetch(stored.address, "0" * 64, tmp_path / "out")


@pytest.mark.parametrize("damage", ["altered", "lost", "list"])
def test_putting_again_mends_what_was_damaged(store: Store, folder: Path, damage: str) -> None:
    """DVC itself takes a read-only file in its cache at its word, and would go on with the damaged one."""
    stored = store.put(folder)
    path = store._object(stored.address) if damage == "list" else object_of(store, stored, "a")
    if damage == "lost":
        path.unlink()
    else:
        path.chmod(0o644)
        path.write_bytes(b"[]")
        path.chmod(0o444)
    assert store.check(stored.address, stored.manifest) != []
    store.put(folder)
    assert store.check(stored.address, stored.manifest) == []


def test_an_unknown_address_says_what_to_do(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UnknownError, match="dvc pull"):
        store.fetch("0" * 32 + ".dir", "0" * 64, tmp_path / "out")


def test_links_pipes_and_nothing_are_refused(store: Store, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(IntegrityError, match="nothing to store"):
        store.put(tmp_path / "empty")
    (folder / "link").symlink_to(folder / "a")
    with pytest.raises(IntegrityError, match="link is no plain file"):
        store.put(folder)
    (folder / "link").unlink()
    (folder / "link").symlink_to(folder / "sub")  # a folder behind a link would be left out of the manifest
    with pytest.raises(IntegrityError, match="link is no plain file"):
        store.put(folder)
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(IntegrityError, match="pipe is no plain file"):
        store.put(folder)


def test_a_listed_file_outside_the_folder_is_refused(store: Store, folder: Path, tmp_path: Path) -> None:
    import hashlib

    stored = store.put(folder)
    raw = store._object(stored.address).read_bytes().replace(b'"relpath": "a"', b'"relpath": "../a"')
    address = hashlib.md5(raw).hexdigest() + ".dir"
    store._object(address).parent.mkdir(exist_ok=True)
    store._object(address).write_bytes(raw)
    with pytest.raises(IntegrityError, match="outside its folder"):
        store.fetch(address, stored.sha256, tmp_path / "out")


def test_a_folder_that_changes_while_it_is_put_is_refused(store: Store, tmp_path: Path) -> None:
    """A writer goes on writing one of the files all the time; whatever is returned must be what lies in the store."""
    folder = folder_of(tmp_path / "busy", first="x" * 100)
    (folder / "last").write_bytes(b"0" * 30_000_000)
    script = (
        "import itertools, sys\nwith open(sys.argv[1], 'r+b') as file:\n"
        "    for n in itertools.count():\n        file.seek(29_999_990)\n        file.write(b'%09d' % n)\n        file.flush()\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(folder / "last")])
    try:
        time.sleep(0.5)
        with pytest.raises(ConflictError, match="changed while"):
            store.put(folder)
    finally:
        writer.kill()
        writer.wait()


def test_two_processes_put_at_once(store: Store, folder: Path, tmp_path: Path) -> None:
    other = folder_of(tmp_path / "other", a="alpha", x="only here")
    command = [sys.executable, "-c", PUT, str(store.root)]
    running = [
        subprocess.Popen([*command, str(each)], stdout=subprocess.PIPE, text=True)
        for each in (folder, other, folder)
    ]
    addresses = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert addresses[0] == addresses[2] != addresses[1]
    for address, each in zip(addresses, (folder, other, folder), strict=True):
        assert store.check(address, manifest_of(each)) == []


def test_a_put_that_was_killed_leaves_no_half_version(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(800):
        (folder / f"{number:04d}").write_bytes(os.urandom(4000))
    cache = store.root / ".dvc/cache/files/md5"
    child = subprocess.Popen([sys.executable, "-c", PUT, str(store.root), str(folder)])
    while child.poll() is None and len(list(cache.glob("*/*"))) < 100:
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert len(list(cache.glob("*/*"))) < 801
    assert not list(cache.glob("*/*.dir")), "the list of files comes last"
    stored = store.put(folder)
    assert store.check(stored.address, manifest_of(folder)) == []
    assert stored.address == Store(tmp_path / "untouched").put(folder).address


def test_a_repository_that_was_left_half_made_is_finished(store: Store, folder: Path) -> None:
    (store.root / ".dvc.part").mkdir(parents=True)
    assert store.check(store.put(folder).address, manifest_of(folder)) == []
