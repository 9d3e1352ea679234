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
    found: dict[str, str] = {}
    pending = [Requirement(name) for name in packages]
    seen = {name: set[str]() for name in packages}  # by name, with which extras
    while pending:
        asked = pending.pop()
        name = canonicalize_name(asked.name)
        try:
            held = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name in packages:
                raise
            continue
        # A local part (2.13.0+cpu) names a build that the package index does not know; the container's own index chooses.
        found[name] = held.version.partition("+")[0]
        new = {"", *asked.extras} - seen.setdefault(name, set())
        seen[name] |= new
        for text in held.requires or () if new else ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in new):
                pending.append(needed)
    return [f"{name}=={version}" for name, version in sorted(found.items())]
