"""What writers that were killed leave beside a file's place is removed: once it is old, and by nobody who still writes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from counterfoil import files, segment
from counterfoil.settings import Settings
from counterfoil.sweep import sweep
from flows import collecting
from flows.people import answers
from flows.people.who import Who
from flows.supervisor import sweeping
from tests.loop_shop import place_of

# A disk that takes its time: the writer waits within the call that comes before the file has its name.
WRITER = """
import os, sys, time
from pathlib import Path
from counterfoil import files, segment

def slow(*_):
    print("half", flush=True)
    time.sleep(600)

if sys.argv[1] == "file":
    os.fsync = slow
    files.write_durably(Path(sys.argv[2]), b"half of it")
else:
    os.link = slow
    segment.create(Path(sys.argv[2]))
"""


@contextmanager
def writing(kind: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, kind, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "half\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def aged(path: Path, hours: float) -> None:
    os.utime(path, (time.time() - 3600 * hours,) * 2)


@pytest.mark.parametrize(("kind", "name"), [("file", "run/trouble.json"), ("segment", "events/a.jsonl")])
def test_what_a_killed_writer_left_is_swept_once_it_is_old(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    with writing(kind, path) as process:
        [half] = path.parent.iterdir()
        assert half.name.endswith(".new")
        process.send_signal(signal.SIGSTOP)
        assert sweep(tmp_path, age_seconds=0) == [] and half.exists(), "somebody still writes"
    assert [half] == list(path.parent.iterdir()), "kill -9 leaves it"
    assert sweep(tmp_path) == [], "it is too young"
    aged(half, 1.1)
    assert sweep(tmp_path) == [half] and list(path.parent.iterdir()) == []
    # and nothing stands in the way of the next one
    if kind == "file":
        files.write_durably(path, b"whole")
    else:
        os.close(segment.create(path))
    assert [path] == list(path.parent.iterdir())


def test_an_id_that_somebody_else_has_by_now_protects_nothing(tmp_path: Path) -> None:
    half = tmp_path / f"routes.json.{os.getpid()}-0123abcd.new"
    half.write_bytes(b"{")
    assert sweep(tmp_path, age_seconds=0) == [], "this process may be at it"
    aged(half, 24 * 3650)  # long before this process began
    assert sweep(tmp_path) == [half]


def test_only_half_files_of_ours_are_swept_and_nobody_elses_folders(tmp_path: Path) -> None:
    gone = "4194305"  # above the largest id that there is
    kept = [
        tmp_path / name
        for name in (
            "inbox/prices.2024.new",
            f"inbox/a.{gone}.new",
            f"run/routes.json.{gone}-0123abcd",
            f".dvc/tmp/x.{gone}-0123abcd.new",
            f"bentoml/x.{gone}-0123abcd.new",
            f"prefect/x.{gone}-0123abcd.new",
            f"linked/x.{gone}-0123abcd.new",
        )
    ]
    swept = [
        tmp_path / name
        for name in (
            f"processes.json.{gone}-0123abcd.new",
            f"receipts/2026-04-12/s.jsonl.{gone}.new",
            f"receipts/2026-04-12/s.parquet.{gone}-0123abcd.new",
        )
    ]
    elsewhere = tmp_path / "linked"
    (tmp_path.parent / "elsewhere").mkdir(exist_ok=True)
    elsewhere.symlink_to(tmp_path.parent / "elsewhere")
    for path in (*kept, *swept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        aged(path, 2)
    over = threading.Event()
    over.set()
    sweeping.run(Settings(home=tmp_path), over)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in swept)


def test_who_is_forgotten_is_not_left_in_half_a_file(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    halves = [
        place.settings.events / "20260412T120003000000-aaaaaaaa.jsonl.4194305-0123abcd.new",
        place.settings.receipts / "2026-04-12" / "20260412T120003-aaaaaaaa.parquet.4194305-0123abcd.new",
    ]
    for half in halves:
        half.parent.mkdir(parents=True)
        half.write_bytes(b"all that somebody did")
    collecting.erase(place, "p" + "0" * 20, ())
    answers.remove(place, Who(pseudonym="p" + "0" * 20, name=None, sessions=(), answered=()), "c")
    assert not any(half.exists() for half in halves), "however young"


def test_a_folder_that_somebody_worked_in_goes_when_nothing_was_written_there_for_hours(
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path)
    folders = [
        tmp_path / "packaging-a",
        tmp_path / "packaging-b",
        tmp_path / "bentoml" / "tmp" / "bentoml_bento_a",
        settings.work / "recall-a",
        tmp_path / "bentoml" / "bentos",
    ]
    for folder in folders:
        (folder / "src").mkdir(parents=True)
        (folder / "src" / "code.py").touch()
    for folder in folders:
        for path in (folder, folder / "src", folder / "src" / "code.py"):
            aged(path, 7)
    aged(folders[1] / "src" / "code.py", 5)
    over = threading.Event()
    over.set()
    sweeping.run(settings, over)
    assert [folder.exists() for folder in folders] == [False, True, False, False, True]
