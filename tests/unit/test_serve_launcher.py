"""The launcher of a service: what it hands to the process that it becomes."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from feast.infra.online_stores.redis import RedisOnlineStore

from bentos import serve


def test_the_release_file_stays_the_link_that_a_cluster_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mounted ConfigMap is a link to a dated folder, which is another one after each change."""
    worker = tmp_path / "bento" / "src" / "bentos" / "worker.py"
    worker.parent.mkdir(parents=True)
    worker.write_text("# takes --release-file")
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "release.json").write_text("{}")
    (tmp_path / "release.json").symlink_to("..2026/release.json")
    begun: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(serve, "open_bundle", lambda bento: SimpleNamespace(tag="shop:aa"))
    monkeypatch.setattr(os, "execve", lambda program, line, environment: begun.append((line, environment)))
    monkeypatch.setenv("COUNTERFOIL_ONLINE_STORE_URL", "redis://:p%40ss@cache/3")
    told = {"release": "release-0000000000000000", "epoch": 1, "bento": "shop:aa"}
    serve.serve(tmp_path / "bento", told, 3010, release_file=tmp_path / "release.json")
    [(line, environment)] = begun
    assert line[line.index("--release-file") + 1] == str(tmp_path / "release.json")
    # a bento from before there were URLs cuts off the scheme and hands the rest to Feast
    handed = environment["COUNTERFOIL_ONLINE_STORE_URL"]
    assert handed == 'redis://cache:6379,db=3,password="p@ss"'
    [node], options = RedisOnlineStore._parse_connection_string(handed.removeprefix("redis://"))
    assert (node, options) == ({"host": "cache", "port": "6379"}, {"db": 3, "password": "p@ss"})
