"""What a bento needs to run anywhere: the packages that its code imports and all that these need, at the versions used here."""

import importlib.metadata
from collections.abc import Sequence

from packaging.requirements import Requirement
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
    "ibis-framework[duckdb]",
    "implicit",
    "msgspec",
    "numba",
    "numpy",
    "orjson",
    "pandas",
    "pillow",
    "prometheus-client",
    "pyarrow",
    "pydantic",
    "pydantic-settings",
    "pyyaml",
    "redis",
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


def pinned(packages: Sequence[str] = PACKAGES) -> list[str]:
    """Return `name==version` of these packages and of all that they need here, by name.

    Without the versions of all, a container that is built later is another one. What a package asks for and is not here (torch's
    libraries for graphics cards) is left to whoever installs. PackageNotFoundError when one of `packages` is not installed.
    """
    pending = [Requirement(package) for package in packages]
    named = {canonicalize_name(asked.name) for asked in pending}
    found: dict[str, str] = {}
    seen: dict[str, set[str]] = {}  # by name, with which extras
    while pending:
        asked = pending.pop()
        name = canonicalize_name(asked.name)
        try:
            held = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name in named:
                raise
            continue
        # A local part (2.13.0+cpu) names a build that the package index does not know; the container's own index chooses.
        found[name] = held.version.partition("+")[0]
        new = {"", *asked.extras} - seen.setdefault(name, set())
        seen[name] |= new
        for text in held.requires or ():
            needed = Requirement(text)
            if any(needed.marker is None or needed.marker.evaluate({"extra": extra}) for extra in new):
                pending.append(needed)
    return [f"{name}=={version}" for name, version in sorted(found.items())]
