"""A person taken out of the features: rows of others stay what they were, and no byte of the person is left in SQLite."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil.errors import UnavailableError
from counterfoil.settings import Settings
from feature_repo import erase, online, repo
from feature_repo.build import PERSON_SCHEMA, partition

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HER, HIM = "p" + "a" * 20, "p" + "b" * 20


def row(person: str) -> dict[str, object]:
    """Return what a partition says of a person."""
    lists = {field.name: [] for field in PERSON_SCHEMA if pa.types.is_list(field.type)}
    numbers = {field.name: 1.5 for field in PERSON_SCHEMA if field.type == pa.float32()}
    return {
        **lists,
        **numbers,
        "person": person,
        "event_timestamp": NOON,
        "created": NOON,
        "history_items": ["milk"],
    }


def materialised(settings: Settings) -> None:
    """Bring both people online."""
    path = partition(settings.features, "person", NOON)
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row(HER), row(HIM)], PERSON_SCHEMA), path)
    repo.apply(settings)
    assert online.materialise(settings, NOON) == 2


def test_partitions_lose_her_rows_alone(tmp_path: Path) -> None:
    path = partition(tmp_path, "person", NOON)
    path.parent.mkdir(parents=True)
    pq.write_table(
        pa.Table.from_pylist([row(HER), row(HIM), row(HER)], PERSON_SCHEMA), path, row_group_size=2
    )
    (tmp_path / f"{path.stem}.json").write_text("{}")
    (path.parent / f".{path.name}.123").write_bytes(b"half")
    assert [found["person"] for _, found in erase.offline_rows(tmp_path, HER)] == [HER, HER]
    assert erase.erase_offline(tmp_path, HER) == 2
    kept = pq.read_table(path)
    assert (
        kept.schema.equals(PERSON_SCHEMA)
        and kept.to_pylist() == pa.Table.from_pylist([row(HIM)], PERSON_SCHEMA).to_pylist()
    )
    assert [one.name for one in path.parent.iterdir()] == [path.name] and not list(tmp_path.glob("*.json"))
    before = path.read_bytes()
    assert erase.erase_offline(tmp_path, HER) == 0 and path.read_bytes() == before


def test_the_online_store_loses_her_to_the_last_byte(home: Path) -> None:
    settings = Settings(home=home)
    assert erase.online_row(settings, HER) is None and erase.erase_online(settings, HER) == 0
    materialised(settings)
    online.materialise(settings, NOON)  # written again: what was there before lies in free pages
    files = [home / "features" / name for name in ("online.sqlite", "online.sqlite-wal")]
    assert any(HER.encode() in path.read_bytes() for path in files if path.is_file())
    his, hers = erase.online_row(settings, HIM), erase.online_row(settings, HER)
    assert hers is not None and hers["history_items"] == ["milk"] and his is not None
    assert erase.erase_online(settings, HER) == len(hers) - 2
    assert not any(HER.encode() in path.read_bytes() for path in files if path.is_file())
    assert (erase.online_row(settings, HER), erase.online_row(settings, HIM)) == (None, his)
    assert erase.erase_online(settings, HER) == 0


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The address of a Redis server of this test; skipped, and said so, where there is no such program."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server, which is not here")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _await(port)
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _await(port: int) -> None:
    for _ in range(100):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("Redis does not answer")


def test_redis_loses_her_key_alone(home: Path, redis: str) -> None:
    settings = Settings(home=home, online_store_url=redis)
    materialised(settings)
    his, hers = erase.online_row(settings, HIM), erase.online_row(settings, HER)
    assert hers is not None and his is not None
    assert erase.erase_online(settings, HER) >= len(hers) - 2
    assert (erase.online_row(settings, HER), erase.online_row(settings, HIM)) == (None, his)
    assert erase.erase_online(settings, HER) == 0
    view = online.OnlineFeatures(settings).person(HER, NOON)
    assert (view.event_time, view.expired, view.history_items) == (None, False, ()), "as somebody unknown"


def test_an_online_store_that_does_not_answer_is_said(home: Path) -> None:
    settings = Settings(home=home)
    materialised(settings)
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        gone = Settings(home=home, online_store_url=f"redis://127.0.0.1:{probe.getsockname()[1]}")
    with pytest.raises(UnavailableError, match="does not answer"):
        erase.erase_online(gone, HER)
