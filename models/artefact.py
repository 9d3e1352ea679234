"""Parts of a model on disk: JSON, npy and CSR matrices as three npy files. No pickle, and twice the same bytes.

Not here: where artefacts are kept (counterfoil/store.py), and torch's or XGBoost's own formats (beside their families).
A folder is written in a temporary place and put into the store as a whole, so single files need no renaming here.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from scipy.sparse import csr_matrix

from counterfoil import canonical
from counterfoil.errors import IntegrityError

CSR_PARTS = ("data", "indices", "indptr")
# Files in which families keep rows of single people, by the file that marks such a folder (families/personknn.py, sessionknn.py)
HISTORIES = {
    "taken.data.npy": ("taken.data.npy", "taken.indices.npy", "taken.indptr.npy"),
    "sessions.npy": ("sessions.npy", "items.npy", "steps.npy", "ages.npy"),
}


def histories(names: Collection[str]) -> list[str]:
    """Return those of an artefact's files, given by relative path, that hold what single people took."""
    found = {
        f"{folder}{slash}{part}"
        for folder, slash, name in (path.rpartition("/") for path in names)
        for part in HISTORIES.get(name, ())
    }
    return sorted(found & set(names))


def write_json(path: Path, value: Any) -> None:
    """Write canonical JSON; ValueError for NaN and infinities."""
    path.write_bytes(canonical.encode(value))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; IntegrityError when the file is missing or holds something else."""
    value = _read(path)
    if not isinstance(value, dict):
        raise IntegrityError(
            f"{path.name} holds a {type(value).__name__}, not an object; restore the artefact"
        )
    return value


def read_steps(path: Path) -> tuple[dict[str, float], ...]:
    """Read a list of JSON objects, as of a learning curve; IntegrityError when the file is missing or holds something else."""
    value = _read(path)
    if not isinstance(value, list) or not all(isinstance(step, dict) for step in value):
        raise IntegrityError(f"{path.name} holds no list of objects; restore the artefact")
    return tuple(value)


def _read(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise IntegrityError(
            f"{path.name} cannot be read ({error}); restore the artefact by its digest"
        ) from error


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one array as npy, in C order; objects are refused."""
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def read_array(path: Path, dtype: type[np.generic], ndim: int = 1) -> np.ndarray:
    """Read one array; IntegrityError when it is missing, broken, or of another type or shape than was written."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise IntegrityError(
            f"{path.name} cannot be read ({error}); restore the artefact by its digest"
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype != np.dtype(dtype) or array.ndim != ndim:
        found = f"{getattr(array, 'dtype', type(array).__name__)} of {getattr(array, 'ndim', 0)} dimensions"
        raise IntegrityError(
            f"{path.name} holds {found}, expected {np.dtype(dtype)} of {ndim}; restore the artefact by its digest"
        )
    return array


def check_shapes(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse arrays that are not exactly these names and shapes, float32: ValueError names those that are amiss."""
    found = {name: array.shape for name, array in arrays.items() if array.dtype == np.float32}
    amiss = sorted(
        name for name in {*arrays, *shapes} if name not in shapes or found.get(name) != shapes[name]
    )
    if amiss:
        raise ValueError(f"{', '.join(amiss)}: absent, unknown, or of another shape than the config says")


def write_csr(folder: Path, name: str, matrix: csr_matrix) -> None:
    """Write a float32 CSR matrix as `name.{data,indices,indptr,shape}.npy`, indices sorted within rows."""
    matrix = matrix.astype(np.float32)
    matrix.sort_indices()
    write_array(folder / f"{name}.data.npy", matrix.data)
    write_array(folder / f"{name}.indices.npy", matrix.indices.astype(np.int32))
    write_array(folder / f"{name}.indptr.npy", matrix.indptr.astype(np.int64))
    write_array(folder / f"{name}.shape.npy", np.array(matrix.shape, np.int64))


def read_csr(folder: Path, name: str) -> csr_matrix:
    """Read a CSR matrix; IntegrityError when its parts do not fit each other (an index out of range can crash scipy)."""
    data = read_array(folder / f"{name}.data.npy", np.float32)
    indices = read_array(folder / f"{name}.indices.npy", np.int32)
    indptr = read_array(folder / f"{name}.indptr.npy", np.int64)
    shape = tuple(read_array(folder / f"{name}.shape.npy", np.int64).tolist())
    fits = (
        len(shape) == 2
        and len(indptr) == shape[0] + 1
        and len(data) == len(indices) == indptr[-1]
        and indptr[0] == 0
        and bool((np.diff(indptr) >= 0).all())
        and (len(indices) == 0 or (indices.min() >= 0 and indices.max() < shape[1]))
    )
    if not fits:
        raise IntegrityError(f"the parts of {name} do not fit each other; restore the artefact by its digest")
    return csr_matrix((data, indices, indptr), shape=shape)
