"""That a bento names all that its code imports, and whatever that needs, so that a container elsewhere can serve it."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bentos import requirements
from bentos.requirements import PACKAGES, direct, pinned

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = """
import ast, importlib.metadata, pathlib, sys
import bentos.recommend.service, bentos.worker, feature_repo.online, feature_repo.recent, counterfoil.compiled

owners = importlib.metadata.packages_distributions()
ours = ("bentos", "counterfoil", "feature_repo", "models")


def top(body):
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif isinstance(node, ast.Try | ast.If | ast.With):
            yield from top(node.body)


found = set()
for name, module in list(sys.modules.items()):
    if name.partition(".")[0] in ours and getattr(module, "__file__", None):
        for imported in top(ast.parse(pathlib.Path(module.__file__).read_text()).body):
            found |= set(owners.get(imported.partition(".")[0], ()))
print(*sorted(name.lower().replace("_", "-") for name in found - {"counterfoil"}))
"""


def test_what_serving_imports_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, cwd=ROOT, timeout=120
    )
    imported = set(done.stdout.split())
    assert {"orjson", "starlette", "pydantic", "msgspec"} <= imported, "there is something to look at"
    assert imported <= set(PACKAGES), imported - set(PACKAGES)


def test_all_that_they_need_is_named_too_each_once_without_a_local_part() -> None:
    told = dict(line.split("==") for line in pinned())
    assert list(told) == sorted(told) and dict(line.split("==") for line in direct()).items() <= told.items()
    assert {"anyio", "cattrs", "llvmlite", "dask", "sqlglot"} <= set(
        told
    )  # of starlette, bentoml, numba, feast, ibis
    assert not any("+" in version for version in told.values())
    assert told["torch"] == importlib.metadata.version("torch").partition("+")[0]
    assert not {"pytest", "prefect", "great-expectations"} & set(told), "serving needs none of these"


def test_what_ibis_needs_for_duckdb_is_named_since_extras_are_not() -> None:
    wanted = [Requirement(line) for line in importlib.metadata.requires("ibis-framework") or ()]
    of_duckdb = {one.name for one in wanted if one.marker and one.marker.evaluate({"extra": "duckdb"})}
    assert "duckdb" in of_duckdb and of_duckdb <= {line.partition("==")[0] for line in pinned()}


def test_extras_count_and_what_is_not_here_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = {
        "a": ["b[more]>=1", "gone", "old; python_version < '3'"],
        "b": ["c; extra == 'more'", "d; extra == 'other'", "a"],
        "c": [],
        "d": [],
    }

    def version(name: str) -> str:
        if name not in asks:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(requirements.importlib.metadata, "version", version)
    monkeypatch.setattr(requirements.importlib.metadata, "requires", asks.get)
    assert requirements.needs({"a": ()}) == {"a": {"b"}, "b": {"a", "c"}, "c": set()}
    assert requirements.needs({"b": {"other"}}) == {"a": {"b"}, "b": {"a", "c", "d"}, "c": set(), "d": set()}
