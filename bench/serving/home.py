"""The home that is measured: a synthetic shop landed, learned from and released by the product's verbs.

python -m bench.serving.home FOLDER ITEMS PEOPLE
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from bench.serving import recipe, shop
from bench.serving.shop import Size
from counterfoil import canonical, settings
from counterfoil.errors import UnavailableError
from counterfoil.settings import Settings
from flows.place import Place, place_of, source_digest

FOLDER = Path(".bench")
LARGE, HUGE = Size(items=100_000, people=20_000), Size(items=1_000_000, people=5_000)
TTL_DAYS = 36_500  # the shop's days stay where they are, and the clock does not
MADE = "bench-home.json"
# What a home is made by: another recipe, another home.
CODE = (
    "bench/serving/shop.py",
    "bench/serving/recipe.py",
    "models",
    "feature_repo",
    "bentos",
    "flows/snapshot.py",
)


@dataclass(frozen=True, kw_only=True)
class Home:
    """A home that is ready to be measured: whose, and the bentos of its candidates, the champion's first."""

    folder: Path
    size: Size
    made: dict[str, Any]

    @property
    def place(self) -> Place:
        """The installation."""
        return place_of(settings_of(self.folder))

    @property
    def env(self) -> dict[str, str]:
        """The environment of a process that works on this home."""
        return {
            **settings.of_children(settings_of(self.folder)),
            "COUNTERFOIL_FEATURE_TTL_DAYS": str(TTL_DAYS),
        }


def settings_of(folder: Path) -> Settings:
    """Return the settings of a home that lies there."""
    return Settings(home=folder.absolute(), feature_ttl_days=TTL_DAYS)


def opened(size: Size, root: Path = FOLDER) -> Home:
    """Return the home of that size, made when there is none or its recipe changed. UnavailableError when that fails."""
    folder = root / f"shop-{size.items}-{size.people}"
    digest = recipe_digest(size)
    made = _made(folder)
    if made is None or made["recipe"] != digest:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        sys.stderr.write(
            f"making a shop of {size.items:,} items and {size.people:,} people in {folder} ...\n"
        )
        command = [sys.executable, "-m", "bench.serving.home", str(folder), orjson.dumps(size).decode()]
        if code := subprocess.run(
            command, check=False, env={**os.environ, "COUNTERFOIL_HOME": str(folder.absolute())}
        ).returncode:
            raise UnavailableError(f"making {folder} ended with {code}; look above for the reason")
        made = {**(_made(folder) or {}), "recipe": digest}
        (folder / MADE).write_bytes(orjson.dumps(made))
    return Home(folder=folder.absolute(), size=size, made=made)


def recipe_digest(size: Size) -> str:
    """Return what the home of that size depends on, as a digest."""
    return canonical.sha256({"code": source_digest(CODE), "size": size})


def make(folder: Path, size: Size) -> dict[str, Any]:
    """Land the shop and turn the loop; return who was released and who else was fitted."""
    from counterfoil.importers import open_source
    from counterfoil.landing import land
    from flows.advance import advance
    from flows.steps import _at, recorder, steps

    place = place_of(settings_of(folder))
    with tempfile.TemporaryDirectory() as source:
        land(open_source("contract", shop.write(Path(source) / "shop", size)), place.settings)
    memory = recorder(place)
    memory.on_end = lambda outcome: _say(f"{outcome.verb} {outcome.label}, {outcome.seconds:.1f} s")
    held = replace(steps(place, memory), fit=memory.wrap(_at(place, recipe.fit)))
    case = recipe.use_case()
    done = advance(case, size.as_of, held)
    if done.release is None or done.decision.winner is None:
        raise UnavailableError(f"nothing was released: {' '.join(done.decision.sentences)}")
    return {
        "release": done.release.id,
        "bento": done.release.tag,
        "epoch": done.release.epoch,
        "sentences": list(done.decision.sentences),
        "people": size.people,
        "as_of": canonical.utc_text(size.as_of),
    }


def _say(what: str) -> None:
    sys.stderr.write(f"  {what}\n")
    sys.stderr.flush()


def _made(folder: Path) -> dict[str, Any] | None:
    path = folder / MADE
    return orjson.loads(path.read_bytes()) if path.is_file() else None


def main() -> None:
    """Make the home that the command line names."""
    folder, size = Path(sys.argv[1]), Size(**orjson.loads(sys.argv[2]))
    settings.load()
    (folder / MADE).write_bytes(orjson.dumps({**make(folder, size), "recipe": ""}))


if __name__ == "__main__":
    main()
