"""That a bento names all that its code imports, and whatever that needs, so that a container elsewhere can serve it."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from bentos import requirements
from bentos.requirements import PACKAGES, pinned

ROOT = Path(__file__).resolve().parents[2]
NAMES = {package.partition("[")[0] for package in PACKAGES}
IMPORTED = """
import ast, importlib.metadata, pathlib, sys
import bentos.recommend.service, bentos.worker, feature_repo.online, feature_repo.recent, models.compiled

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
    assert imported <= NAMES, imported - NAMES


def test_all_that_they_need_is_named_too_each_once_without_a_local_part() -> None:
    told = dict(line.split("==") for line in pinned())
    assert list(told) == sorted(told) and set(told) >= NAMES
    assert {"anyio", "uvicorn", "cattrs", "llvmlite", "dask", "sqlglot"} <= set(
        told
    )  # of starlette, bentoml, numba, feast, ibis
    assert not any("+" in version for version in told.values())
    assert told["torch"] == importlib.metadata.version("torch").partition("+")[0]
    assert not {"pytest", "prefect", "great-expectations"} & set(told), "serving needs none of these"


def test_extras_count_and_what_is_not_here_is_left_to_who_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {
        "a": ("2.0+local", ["b[more]>=1", "gone", "old; python_version < '3'"]),
        "b": ("1.5", ["c; extra == 'more'", "d; extra == 'other'", "a"]),
        "c": ("3", []),
        "d": ("4", []),
    }

    class Held:
        def __init__(self, version: str, requires: list[str]) -> None:
            self.version, self.requires = version, requires

    def distribution(name: str) -> Held:
        if name not in needs:
            raise importlib.metadata.PackageNotFoundError(name)
        return Held(*needs[name])

    monkeypatch.setattr(requirements.importlib.metadata, "distribution", distribution)
    assert pinned(["a"]) == ["a==2.0", "b==1.5", "c==3"]
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        pinned(["a", "gone"])
