"""The launcher of a service: what it hands to the process that it becomes."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

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
    lines: list[list[str]] = []
    monkeypatch.setattr(serve, "open_bundle", lambda bento: SimpleNamespace(tag="shop:aa"))
    monkeypatch.setattr(os, "execv", lambda program, line: lines.append(line))
    told = {"release": "release-0000000000000000", "epoch": 1, "bento": "shop:aa"}
    serve.serve(tmp_path / "bento", told, 3010, release_file=tmp_path / "release.json")
    [line] = lines
    assert line[line.index("--release-file") + 1] == str(tmp_path / "release.json")
