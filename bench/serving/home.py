"""The home that is measured: a synthetic shop landed, learned from and released by the product's verbs.

python -m bench.serving.home FOLDER ITEMS PEOPLE
"""

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
USE_CASE = "recommendation"
# What a home is made by: another recipe, another home. And what its bentos hold: other code, another bento of the same model.
RECIPE = ("bench/serving/shop.py", "bench/serving/recipe.py", "feature_repo", "flows/snapshot.py")
CODE = ("bentos", "models", "feature_repo", "counterfoil")


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
    """Return the home of that size; made where there is none of this recipe, packaged anew where its bento holds other code.

    UnavailableError when that fails.
    """
    folder = root / f"shop-{size.items}-{size.people}"
    recipe_sha, code_sha = recipe_digest(size), source_digest(CODE)
    made = _made(folder)
    if made is None or made["recipe"] != recipe_sha:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        sys.stderr.write(
            f"making a shop of {size.items:,} items and {size.people:,} people in {folder} ...\n"
        )
        made = _in_process(folder, size, "make")
    elif made["code"] != code_sha:
        sys.stderr.write(f"packaging the model of {folder} with this code ...\n")
        made = {**made, **_in_process(folder, size, "package")}
    made = {**made, "recipe": recipe_sha, "code": code_sha}
    _note(folder, made)
    return Home(folder=folder.absolute(), size=size, made=made)


def _in_process(folder: Path, size: Size, verb: str) -> dict[str, Any]:
    """Run `make` or `package` in a process of its own, and return what it told."""
    command = [sys.executable, "-m", "bench.serving.home", verb, str(folder), orjson.dumps(size).decode()]
    env = {**settings.of_children(settings_of(folder)), "COUNTERFOIL_FEATURE_TTL_DAYS": str(TTL_DAYS)}
    done = subprocess.run(command, check=False, env=env, stdout=subprocess.PIPE)
    if done.returncode:
        raise UnavailableError(f"{verb} of {folder} ended with {done.returncode}; look above for the reason")
    told: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])
    return told


def recipe_digest(size: Size) -> str:
    """Return what the home of that size depends on, as a digest."""
    return canonical.sha256({"code": source_digest(RECIPE), "size": size})


def package(folder: Path, size: Size) -> dict[str, Any]:
    """Promote the candidate that does not serve, packaged with the code of now: the same work, by other trees."""
    from bench.serving import whole
    from feature_repo import online
    from flows import steer

    place = place_of(settings_of(folder))
    online.apply(place.settings)  # the views of now
    if (
        place.catalog.challenger(USE_CASE) is not None
    ):  # left by a measurement, spoilt perhaps: it is not to be promoted
        steer.withdraw(place, USE_CASE, "bench", "the code changed")
    whole.lift(place)
    champion = place.catalog.champion(USE_CASE)
    assert champion is not None
    serving = candidate_of(place, champion.bento)
    other = next(id for id in candidates(place).values() if id != serving)
    steer.promote(place, other, "bench", "the code changed", "champion")
    release = place.catalog.champion(USE_CASE)
    assert release is not None
    return {"release": release.id, "bento": release.tag, "epoch": release.epoch}


def candidate_of(place: Place, bento: str) -> str:
    """Return the candidate that a bento holds."""
    found: Any = place.catalog.get(bento)
    return str(found.candidate)


def candidates(place: Place) -> dict[int, str]:
    """Return the ids of the two-stage candidates by their seed."""
    from counterfoil.types import Candidate

    found: list[Any] = place.catalog.find(Candidate, USE_CASE)
    return {one.seed: one.id for one in found if one.family == "twostage"}


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


def _note(folder: Path, made: dict[str, Any]) -> None:
    (folder / MADE).write_bytes(orjson.dumps(made))


def main() -> None:
    """Make the home that the command line names, or package its model anew; say what came of it in the last line."""
    verb, folder, size = sys.argv[1], Path(sys.argv[2]), Size(**orjson.loads(sys.argv[3]))
    settings.load()
    told = {"make": make, "package": package}[verb](folder, size)
    sys.stdout.write(orjson.dumps(told).decode() + "\n")


if __name__ == "__main__":
    main()
