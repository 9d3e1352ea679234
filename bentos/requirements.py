"""What a bento needs to run anywhere: the packages that its code imports and all that these need, at the versions used here."""

import importlib.metadata
from collections import deque
from collections.abc import Collection, Iterable, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

# What the code in a bento imports, or has a library import for it.
PACKAGES = (
    "bentoml",
    "cryptography",
    "duckdb",
    "feast",
    "filelock",
    "httptools",
    "httpx",
    "ibis-framework",
    "implicit",
    "msgspec",
    "numba",
    "numpy",
    "orjson",
    "packaging",
    "pandas",
    "pillow",
    "prometheus-client",
    "pyarrow",
    "pyarrow-hotfix",
    "pydantic",
    "pydantic-settings",
    "pyyaml",
    "redis",
    "rich",
    "safetensors",
    "scikit-learn",
    "scipy",
    "sqlalchemy",
    "starlette",
    "threadpoolctl",
    "torch",
    "typeguard",
    "uvicorn",
    "uvloop",
    "xgboost-cpu",
    "zstandard",
)


def direct() -> list[str]:
    """Return `name==version` of the packages themselves. PackageNotFoundError when one of them is not installed."""
    return [f"{name}=={_version(name)}" for name in PACKAGES]


def pinned() -> list[str]:
    """Return `name==version` of the packages and of all that they need here, by name.

    Without the versions of all, a container that is built later is another one.
    """
    return [f"{name}=={_version(name)}" for name in sorted(needs(dict.fromkeys(PACKAGES, ())))]


def needs(asked: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """Return what each package needs, for those asked for (by canonical name, with extras) and all that these bring.

    What is not installed is left out: it is for another platform, or of an extra that nobody has here.
    """
    found: dict[str, set[str]] = {name: set() for name in asked}
    queue, seen = deque(asked.items()), set()
    while queue:
        name, extras = queue.popleft()
        for one in _needed(name, extras):
            child = canonicalize_name(one.name)
            if version_of(child) is None:
                continue
            found[name].add(child)
            found.setdefault(child, set())
            key = (child, frozenset(one.extras))
            if key not in seen:
                seen.add(key)
                queue.append((child, set(one.extras)))
    return found


def _needed(name: str, extras: Iterable[str]) -> list[Requirement]:
    said = [requirement(line) for line in importlib.metadata.requires(name) or ()]
    environments = [{"extra": extra} for extra in ("", *extras)]
    return [
        one
        for one in said
        if one is not None and (one.marker is None or any(one.marker.evaluate(env) for env in environments))
    ]


def requirement(line: str) -> Requirement | None:
    """Return what a line asks for; None when it asks for nothing."""
    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


def version_of(name: str) -> str | None:
    """Return which version is here, without the local part that names a build; None when there is none."""
    try:
        return _version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _version(name: str) -> str:
    # A local part (2.13.0+cpu) names a build that the package index does not know; the container's own index chooses.
    return importlib.metadata.version(name).partition("+")[0]
