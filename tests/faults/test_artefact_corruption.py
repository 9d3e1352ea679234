"""Damaged, planted and crafted artefacts: each is refused by name, before a parser sees it, and the process lives."""

import os
import pickle
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import psutil
import pytest

from bentos import bundle, manifest, probe, release, startup
from bentos.package import package
from counterfoil.errors import ConfigError, IntegrityError
from tests import bento_shop


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a home with one bento, and the bento's path within it."""
    root = tmp_path_factory.mktemp("artefacts")
    packaged = bento_shop.make_bento(root, bento_shop.settings_of(root / "home"))
    return root / "home", packaged.path.relative_to(root / "home")


@pytest.fixture
def bento(made: tuple[Path, Path], tmp_path: Path) -> Path:
    """Return a copy that a test may damage."""
    home, path = made
    shutil.copytree(home, tmp_path / "home")
    return tmp_path / "home" / path


def model_of(bento: Path) -> Path:
    name, version = orjson.loads((bento / "src" / "bento.json").read_bytes())["model"]["tag"].split(":")
    return bento.parents[2] / "models" / name / version


def forge(bento: Path) -> None:
    """Do what somebody does who can write the whole store: make every digest fit again."""
    about = orjson.loads((bento / "src" / "bento.json").read_bytes())
    model = model_of(bento)
    (model / "model.yaml").unlink()
    about["model"]["sha256"] = manifest.write(model)
    (bento / "src" / "bento.json").write_bytes(orjson.dumps(about))
    manifest.write(bento / "src")


def test_a_sound_bento_opens_and_parses(bento: Path) -> None:
    loaded = startup.load(bundle.open_bundle(bento))
    assert loaded.bundle.tag == f"recommendation:{bento.name}"
    assert len(loaded.snapshot) == 40


def files_of(bento: Path) -> list[Path]:
    files = [path for path in (bento / "src").rglob("*") if path.is_file()]
    return sorted([*files, *(path for path in model_of(bento).iterdir() if path.name != "model.yaml")])


def test_one_flipped_bit_in_any_file_is_found(bento: Path) -> None:
    chance = random.Random(7)
    flipped = 0
    for path in files_of(bento):
        good = path.read_bytes()
        if not good:
            continue
        bad = bytearray(good)
        bit = chance.randrange(len(good) * 8)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(bad))
        with pytest.raises(IntegrityError):
            bundle.open_bundle(bento)
        path.write_bytes(good)
        flipped += 1
    bundle.open_bundle(bento)
    assert flipped > 60


def test_a_flipped_manifest_cannot_pass_as_the_released_bento(bento: Path) -> None:
    """A manifest that fits other bytes has another digest, hence another tag than the release names."""
    before = bundle.open_bundle(bento).tag
    (bento / "src" / "data" / "popular.npy").write_bytes((bento / "src" / "data" / "recent.npy").read_bytes())
    manifest.write(bento / "src")
    assert bundle.open_bundle(bento).tag != before


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_model_is_named(bento: Path, share: float) -> None:
    path = model_of(bento) / "config.json"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(IntegrityError, match=r"config\.json was altered"):
        bundle.open_bundle(bento)


@pytest.mark.parametrize(
    "place", ["src/extra.py", "src/bentos/extra.py", "src/counterfoil/__pycache__/types.cpython-311.pyc"]
)
def test_planted_code_is_named(bento: Path, place: str) -> None:
    (bento / place).parent.mkdir(exist_ok=True)
    (bento / place).write_text("raise SystemExit('planted code ran')")
    with pytest.raises(IntegrityError, match="is not in the manifest"):
        bundle.open_bundle(bento)


def test_a_file_beside_the_model_is_named(bento: Path) -> None:
    (model_of(bento) / "weights.npy").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"weights\.npy is not in the manifest"):
        bundle.open_bundle(bento)


def test_a_model_behind_a_link_is_refused(bento: Path, tmp_path: Path) -> None:
    model = model_of(bento)
    model.rename(tmp_path / "elsewhere")
    model.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="is not a folder"):
        bundle.open_bundle(bento)


def test_a_model_that_is_gone_is_named(bento: Path) -> None:
    shutil.rmtree(model_of(bento))
    with pytest.raises(IntegrityError, match=r"the model recommendation-model:.* is nowhere beside it"):
        bundle.open_bundle(bento)


def test_another_model_whose_manifest_fits_is_not_the_one_packaged(bento: Path) -> None:
    (model_of(bento) / "config.json").write_text("{}")
    (model_of(bento) / "model.yaml").unlink()
    manifest.write(model_of(bento))
    with pytest.raises(IntegrityError, match=r"is not the model that .* was packaged with"):
        bundle.open_bundle(bento)


class Gadget:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["model.ubj", "count.npy", "net.safetensors", "config.json"])
def test_a_pickle_never_runs_even_with_forged_digests(
    bento: Path, tmp_path: Path, name: str, protocol: int
) -> None:
    canary = tmp_path / "canary"
    (model_of(bento) / name).write_bytes(pickle.dumps(Gadget(canary), protocol))
    forge(bento)
    with pytest.raises(IntegrityError, match="does not begin like"):
        bundle.open_bundle(bento)
    assert not canary.exists()


def test_an_array_of_objects_never_runs_even_with_forged_digests(bento: Path, tmp_path: Path) -> None:
    """An .npy may hold a pickle behind an honest header; nothing here loads one."""
    import numpy as np

    canary = tmp_path / "canary"
    array = np.empty(1, object)
    array[0] = Gadget(canary)
    np.save(bento / "src" / "data" / "recent.npy", array, allow_pickle=True)
    manifest.write(bento / "src")
    with pytest.raises(IntegrityError, match=r"cannot be parsed: .*allow_pickle=False"):
        startup.load(bundle.open_bundle(bento))
    assert not canary.exists()


def test_a_pickled_artefact_is_not_packaged(tmp_path: Path) -> None:
    dataset = bento_shop.write_dataset(tmp_path / "dataset")
    artefact = bento_shop.write_artefact(dataset, tmp_path / "artefact")
    (artefact / "model.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(IntegrityError, match="an artefact may hold"):
        package(
            use_case="recommendation",
            candidate=bento_shop.candidate(),
            artefact=artefact,
            dataset=dataset,
            feature_service="recommendation_v1",
            settings=bento_shop.settings_of(tmp_path / "home"),
        )


def replace_probe(bento: Path, code: str) -> bundle.Bundle:
    """Give the bento a child process that behaves as a native parser does on damaged bytes."""
    (bento / "src" / "bentos" / "probe.py").write_text(code)
    manifest.write(bento / "src")
    return bundle.open_bundle(bento)


def test_a_parser_that_crashes_takes_only_the_child_with_it(bento: Path) -> None:
    opened = replace_probe(bento, "import ctypes\n\n\ndef main(arguments):\n    ctypes.string_at(0)\n")
    with pytest.raises(IntegrityError, match="crashed with signal 11"):
        startup.load(opened)


def test_a_parser_that_hangs_is_ended_in_time(bento: Path) -> None:
    pid_file = bento.parent / "pid"
    body = f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))\n    while True:\n        pass"
    code = f"import os\n\n\ndef main(arguments):\n    {body}\n"
    opened = replace_probe(bento, code)
    start = time.monotonic()
    with pytest.raises(IntegrityError, match="took longer than 2 s"):
        startup.load(opened, parse_seconds=2)
    assert time.monotonic() - start < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_parser_that_hangs_ends_although_its_parent_was_killed(bento: Path) -> None:
    """The probe itself, cut to two seconds, with a parser that never returns."""
    source = bento / "src" / "bentos"
    limit = f"LIMIT_SECONDS = {probe.LIMIT_SECONDS}\n"
    assert limit in (source / "probe.py").read_text() and probe.LIMIT_SECONDS > startup.PARSE_SECONDS
    (source / "probe.py").write_text((source / "probe.py").read_text().replace(limit, "LIMIT_SECONDS = 2\n"))
    with (source / "snapshot.py").open("a") as file:
        file.write(
            f"\n\ndef read(*_):\n    open({str(bento.parent / 'hangs')!r}, 'w')\n    while True:\n        pass\n"
        )
    manifest.write(bento / "src")
    code = """
import os, sys
from pathlib import Path
from bentos import bundle, startup
print(startup.start_probe(bundle.open_bundle(Path(sys.argv[1]))).pid, flush=True)
os.kill(os.getpid(), 9)
"""
    parent = subprocess.run([sys.executable, "-c", code, str(bento)], capture_output=True, text=True)
    assert parent.returncode == -9
    child = int(parent.stdout)
    until = time.monotonic() + 60
    while lives(child) and time.monotonic() < until:
        time.sleep(0.1)
    assert (bento.parent / "hangs").exists()
    if lives(child):
        os.kill(child, 9)
        pytest.fail("the probe went on without its parent")


def lives(pid: int) -> bool:
    """Say whether a process is there that is not merely waiting to be collected."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_parser_that_fails_says_why(bento: Path) -> None:
    opened = replace_probe(bento, "def main(arguments):\n    raise ValueError('no such tree')\n")
    with pytest.raises(IntegrityError, match="cannot be parsed: ValueError: no such tree"):
        startup.load(opened)


def test_a_model_that_answers_otherwise_is_refused_by_its_golden_rows(bento: Path) -> None:
    """Digests forged and format valid: only what was answered at packaging tells."""
    config = model_of(bento) / "config.json"
    changed = orjson.loads(config.read_bytes()) | {"half_life_days": 5.0}
    config.write_bytes(orjson.dumps(changed))
    forge(bento)
    with pytest.raises(IntegrityError, match="golden row"):
        startup.load(bundle.open_bundle(bento))


def test_the_launcher_ends_with_a_sentence_and_the_code_for_integrity(bento: Path, tmp_path: Path) -> None:
    pointer = tmp_path / "release.json"
    pointer.write_text(f'{{"release":"release-1","epoch":1,"bento":"recommendation:{bento.name}"}}')
    (bento / "src" / "golden" / "item.npy").write_bytes(b"damaged")
    done = run_launcher(bento, pointer)
    assert done.returncode == 5
    assert done.stderr.startswith(f"{bento.resolve()}/src/golden/item.npy was altered: its SHA-256 is ")
    assert "Traceback" not in done.stderr


def test_the_launcher_refuses_a_bento_that_the_release_does_not_name(bento: Path, tmp_path: Path) -> None:
    pointer = tmp_path / "release.json"
    pointer.write_text('{"release":"release-1","epoch":1,"bento":"recommendation:0"}')
    done = run_launcher(bento, pointer)
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert "but the release names recommendation:0" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is no release pointer"),
        ("", "is no release pointer"),
        ("[]", "holds no JSON object"),
        (
            '{"release": 1}',
            "release is 1, not a text; epoch is None, not a whole number; bento is None, not a text",
        ),
        ('{"release":"r","epoch":true,"bento":"b"}', "epoch is True, not a whole number"),
        ('{"release":"r","epoch":1,"bento":"b","more":1}', "more is unknown"),
    ],
)
def test_a_wrong_release_pointer_is_a_sentence(tmp_path: Path, content: str | None, said: str) -> None:
    pointer = tmp_path / "release.json"
    if content is not None:
        pointer.write_text(content)
    with pytest.raises(ConfigError) as caught:
        release.read(pointer)
    assert said in str(caught.value)


def run_launcher(bento: Path, pointer: Path) -> subprocess.CompletedProcess[str]:
    """Run the launcher as `counterfoil up` does; it must give up by itself."""
    line = [
        sys.executable,
        "-m",
        "bentos.serve",
        "--bento",
        str(bento),
        "--release-file",
        str(pointer),
        "--port",
        "1",
    ]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Return a home with a bento of the two-stage family, whose trees are UBJSON."""
    root = tmp_path_factory.mktemp("ranked")
    packaged = bento_shop.make_bento(root, bento_shop.settings_of(root / "home"), "twostage")
    return root / "home", packaged.path.relative_to(root / "home")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
def test_flipped_bits_in_trees_are_refused_or_change_no_golden_row(
    ranked: tuple[Path, Path], tmp_path: Path, seed: int
) -> None:
    """Even with forged digests, crash and hang included, this process lives; what the child let pass, it can parse too."""
    home, path = ranked
    shutil.copytree(home, tmp_path / "home")
    bento = tmp_path / "home" / path
    trees = next(model_of(bento).rglob("*.ubj"))
    bad = bytearray(trees.read_bytes())
    bit = random.Random(seed).randrange(8 * 64, len(bad) * 8)
    bad[bit // 8] ^= 1 << bit % 8
    trees.write_bytes(bytes(bad))
    forge(bento)
    opened = bundle.open_bundle(bento)
    try:
        startup.await_probe(startup.start_probe(opened), opened, 20)
    except IntegrityError:
        return
    startup.parse(opened)  # what passed in the child passes here
