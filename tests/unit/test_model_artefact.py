"""Parts of models on disk, and typed configs from plain values."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from counterfoil.errors import ConfigError, IntegrityError
from models import artefact
from models.config import Checked, bounds, build

MATRIX = csr_matrix(np.array([[0, 1.5, 0], [0, 0, 0], [2.5, 0, 3.5]], np.float32))


def test_arrays_and_matrices_come_back_as_they_went(tmp_path: Path) -> None:
    artefact.write_array(tmp_path / "a.npy", np.arange(6, dtype=np.int32).reshape(2, 3).T)
    artefact.write_csr(tmp_path, "m", MATRIX)
    assert artefact.read_array(tmp_path / "a.npy", np.int32, ndim=2).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert artefact.read_csr(tmp_path, "m").toarray().tolist() == MATRIX.toarray().tolist()


def test_an_order_of_indices_does_not_change_the_bytes(tmp_path: Path) -> None:
    shuffled = csr_matrix(
        (MATRIX.data[[0, 2, 1]], MATRIX.indices[[0, 2, 1]], MATRIX.indptr), shape=MATRIX.shape
    )
    for name, matrix in (("one", MATRIX), ("other", shuffled)):
        artefact.write_csr(tmp_path, name, matrix)
    assert (tmp_path / "one.data.npy").read_bytes() == (tmp_path / "other.data.npy").read_bytes()
    assert (tmp_path / "one.indices.npy").read_bytes() == (tmp_path / "other.indices.npy").read_bytes()


def test_objects_are_neither_written_nor_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        artefact.write_array(tmp_path / "a.npy", np.array([{}], dtype=object))
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(IntegrityError, match=r"b.npy cannot be read"):
        artefact.read_array(tmp_path / "b.npy", np.int32)


@pytest.mark.parametrize(
    ("part", "broken"),
    [
        ("indices", np.array([1, 0, 3], np.int32)),
        ("indices", np.array([-1, 0, 2], np.int32)),
        ("indptr", np.array([0, 1, 1, 99], np.int64)),
        ("indptr", np.array([0, 3, 1, 3], np.int64)),
        ("data", np.zeros(2, np.float32)),
        ("shape", np.array([9, 3], np.int64)),
        ("shape", np.array([3], np.int64)),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_scipy_sees_them(
    tmp_path: Path, part: str, broken: np.ndarray
) -> None:
    artefact.write_csr(tmp_path, "m", MATRIX)
    artefact.write_array(tmp_path / f"m.{part}.npy", broken)
    with pytest.raises(IntegrityError, match="the parts of m do not fit each other"):
        artefact.read_csr(tmp_path, "m")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]"])
def test_json_that_is_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"config\.json"):
        artefact.read_json(tmp_path / "config.json")


@dataclass(frozen=True, kw_only=True)
class Tree(Checked):
    depth: int = bounds(3, 1, 10)


@dataclass(frozen=True, kw_only=True)
class Forest(Checked):
    family: ClassVar[str] = "forest"
    tree: Tree = field(default_factory=Tree)
    rate: float = bounds(0.5, 0.0, 1.0)
    kind: Literal["oak", "fir"] = "oak"
    names: tuple[str, ...] = ()
    limit: int | None = None


def test_plain_values_become_a_config() -> None:
    values = {"tree": {"depth": 4}, "rate": 1, "kind": "fir", "names": ["a", "b"], "limit": None}
    assert build(Forest, values, "forest") == Forest(
        tree=Tree(depth=4), rate=1.0, kind="fir", names=("a", "b")
    )


def test_all_faults_are_named_at_once() -> None:
    values = {
        "tree": {"depth": 0, "bark": 1},
        "rate": 2.0,
        "kind": "elm",
        "names": [1],
        "limit": 1.5,
        "age": 3,
    }
    with pytest.raises(ConfigError) as told:
        build(Forest, values, "forest")
    for words in (
        "forest.tree has no setting 'bark'",
        "depth is 0, must be from 1 to 10",
        "rate is 2.0, must be from 0 to 1",
        "forest.kind is 'elm', must be one of 'oak', 'fir'",
        "forest.names is 1, must be text",
        "forest.limit is 1.5",
        "forest has no setting 'age'; there are tree, rate, kind, names, limit",
    ):
        assert words in str(told.value)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), True, "0.5", None])
def test_a_number_is_a_finite_number(rate: object) -> None:
    with pytest.raises(ConfigError, match=r"rate is .*, must be a finite number"):
        build(Forest, {"rate": rate}, "forest")
