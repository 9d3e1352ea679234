import os
from pathlib import Path

import pytest

from bentos import formats, manifest
from counterfoil.errors import IntegrityError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "deep").mkdir(parents=True)
    (top / "a.txt").write_text("alpha")
    (top / "deep" / "b.bin").write_bytes(bytes(range(256)))
    manifest.write(top)
    return top


def test_the_manifest_is_the_sha256_of_every_file(folder: Path) -> None:
    assert (folder / "manifest.json").read_text() == (
        '{"files":{"a.txt":"8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8",'
        '"deep/b.bin":"40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880"}}'
    )


def test_the_same_files_give_the_same_digest_whatever_their_dates(folder: Path) -> None:
    before = manifest.verify(folder)
    os.utime(folder / "a.txt", (1, 1))
    assert manifest.write(folder) == manifest.verify(folder) == before


def test_each_altered_bit_is_named(folder: Path) -> None:
    path = folder / "deep" / "b.bin"
    good = path.read_bytes()
    for bit in range(0, len(good) * 8, 37):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(bad))
        with pytest.raises(IntegrityError, match=r"deep/b\.bin was altered"):
            manifest.verify(folder)
    path.write_bytes(good)
    manifest.verify(folder)


def test_a_truncated_file_is_named(folder: Path) -> None:
    (folder / "a.txt").write_text("alph")
    with pytest.raises(IntegrityError, match=r"a\.txt was altered"):
        manifest.verify(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "a.txt").unlink()
    with pytest.raises(IntegrityError, match=r"a\.txt is missing"):
        manifest.verify(folder)


@pytest.mark.parametrize("name", ["c.txt", "deep/.hidden", "deep/manifest.json", "__pycache__/x.pyc"])
def test_an_extra_file_is_named(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("more")
    with pytest.raises(IntegrityError, match="is not in the manifest"):
        manifest.verify(folder)


def test_what_others_keep_is_left_out_only_where_it_is_named(folder: Path) -> None:
    before = manifest.verify(folder)
    (folder / "model.yaml").write_text("theirs")
    assert manifest.verify(folder, besides=frozenset({"model.yaml"})) == before
    with pytest.raises(IntegrityError):
        manifest.verify(folder)


@pytest.mark.parametrize("target", ["a.txt", "deep", "/etc/hostname", "nowhere"])
def test_a_link_is_refused_wherever_it_points(folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)
    with pytest.raises(IntegrityError, match="link is a link or a device"):
        manifest.verify(folder)


def test_a_file_replaced_by_a_link_to_the_same_bytes_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "same").write_text("alpha")
    (folder / "a.txt").unlink()
    (folder / "a.txt").symlink_to(tmp_path / "same")
    with pytest.raises(IntegrityError, match=r"a\.txt is a link"):
        manifest.verify(folder)


def test_a_folder_that_is_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(folder)
    with pytest.raises(IntegrityError, match="alias is not a folder"):
        manifest.verify(tmp_path / "alias")


def test_a_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(IntegrityError, match="pipe is a link or a device"):
        manifest.verify(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": 3}', "no json", '{"files":{"a.txt":1}}'])
def test_a_manifest_that_is_none_is_refused(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(IntegrityError):
        manifest.verify(folder)


def test_no_manifest_no_trust(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(IntegrityError, match=r"manifest\.json is missing"):
        manifest.verify(folder)


PICKLE = b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94."


@pytest.mark.parametrize("suffix", sorted(formats.HEADS))
def test_a_pickle_is_refused_under_every_name(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"model{suffix}").write_bytes(PICKLE)
    with pytest.raises(IntegrityError, match=rf"model\{suffix} does not begin like a \{suffix} file"):
        formats.refuse_unknown(tmp_path)


@pytest.mark.parametrize(
    "name", ["model.pkl", "model.joblib", "model.pt", "code.py", "lib.so", "noname", "array.npz"]
)
def test_formats_that_are_not_allowed_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(IntegrityError, match="an artefact may hold"):
        formats.refuse_unknown(tmp_path)


def test_what_the_libraries_write_is_let_through(tmp_path: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    import xgboost as xgb
    from safetensors.torch import save_file

    np.save(tmp_path / "array.npy", np.arange(3))
    pq.write_table(pa.table({"a": [1]}), tmp_path / "table.parquet")
    save_file({"w": torch.zeros(2)}, tmp_path / "net.safetensors")
    booster = xgb.train({"nthread": 1}, xgb.DMatrix(np.eye(4), label=np.arange(4)), 2)
    booster.save_model(tmp_path / "trees.ubj")
    (tmp_path / "config.json").write_text('{"a": 1}')
    formats.refuse_unknown(tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
