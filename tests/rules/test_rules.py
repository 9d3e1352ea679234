"""The house's laws, as tests: what ruff, mypy and the import linter cannot see."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from counterfoil.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("counterfoil", "feature_repo", "models", "flows", "bentos")
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()


def imported(path: Path) -> set[str]:
    """Return the top names that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 80


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_can_run_code_from_data(path: Path) -> None:
    assert not imported(path) & {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}
    assert "torch.load(" not in path.read_text()
    assert "allow_pickle=True" not in path.read_text()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_the_settings_read_the_environment(path: Path) -> None:
    if path != ROOT / "counterfoil" / "settings.py":
        assert not re.search(r"os\.environ\b(?!\s*,)|os\.getenv", _code(path)), (
            "read the environment in counterfoil/settings.py"
        )


def _code(path: Path) -> str:
    """Return the module without the lines that hand the environment on to a child process unread."""
    return "\n".join(line for line in path.read_text().splitlines() if "env=" not in line)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_says_what_lives_in_it(path: Path) -> None:
    assert (ast.get_docstring(ast.parse(path.read_text())) or "").strip(), "write one sentence at the top"


def test_no_room_is_a_junk_drawer() -> None:
    junk = {"utils", "util", "helpers", "common", "misc", "manager"}
    assert not [
        path for path in SOURCES if junk & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}
    ]


def test_tests_are_no_package() -> None:
    """A package below tests/ would shadow the room of the same name."""
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_readme_names_every_command() -> None:
    from typer.main import get_command

    from counterfoil.cli import app

    readme = (ROOT / "README.md").read_text()
    top = get_command(app)
    missing = [
        name
        for name, command in top.commands.items()
        if not command.hidden and f"counterfoil {name}" not in readme
    ]  # type: ignore[attr-defined]
    assert not missing


def test_every_command_takes_json() -> None:
    from typer.main import get_command

    from counterfoil.cli import app

    def leaves(command, name):  # type: ignore[no-untyped-def]
        for child, inner in getattr(command, "commands", {}).items():
            yield from leaves(inner, f"{name} {child}")
        if not hasattr(command, "commands") and not command.hidden:
            yield name, command

    for name, command in leaves(get_command(app), "counterfoil"):
        assert any("--json" in parameter.opts for parameter in command.params), name


def test_dvc_stages_are_the_contenders() -> None:
    """The list in dvc.yaml cannot be derived by DVC, so it is held against the use case."""
    from flows.use_cases import use_case

    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    contenders = [config.family for config in use_case("recommendation").contenders]
    assert stages["fit"]["foreach"] == stages["evaluate"]["foreach"] == contenders


def test_the_newest_migration_is_the_one_that_is_expected() -> None:
    from counterfoil.catalog.migrate import HEAD

    versions = sorted((ROOT / "counterfoil/catalog/migrations/versions").glob("*.py"))
    assert versions[-1].name.startswith(HEAD)


def test_no_path_of_one_machine_is_tracked() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/")
    texts = {
        name: (ROOT / name)
        for name in TRACKED
        if name.endswith((".py", ".md", ".toml", ".yaml", ".lock", "Makefile"))
    }
    assert not [
        name
        for name, path in texts.items()
        if path.is_file() and pattern.search(path.read_text(errors="replace"))
    ]


def test_pins_that_keep_prefect_alive() -> None:
    """Newer FastAPI kills Prefect's client, SQLAlchemy 2.1 its scheduler: see docs/decisions/0002."""
    lock = dict(re.findall(r"^([\w.-]+)==([\w.+]+)", (ROOT / "requirements.lock").read_text(), re.M))
    assert tuple(map(int, lock["fastapi"].split(".")[:2])) < (0, 151)
    assert lock["sqlalchemy"].startswith("2.0.")
    assert "xgboost" not in lock and "xgboost-cpu" in lock


def test_the_readmes_tree_is_the_tree() -> None:
    """`make tree` writes it anew."""
    done = subprocess.run(
        [sys.executable, "infra/tree.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"run `make tree`: {done.stderr}"


def test_every_setting_is_told_of() -> None:
    told = (ROOT / "docs" / "how-to" / "production.md").read_text().partition("## All settings")[2]
    named = set(re.findall(r"`([A-Z_]+)`", told))
    assert named == {name.upper() for name in Settings.model_fields}


def test_an_image_has_every_room_and_nothing_that_is_not_named() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*", "whatever is not named stays out: homes with their keys lie in this folder"
    named = {line[1:] for line in lines if line.startswith("!")}
    assert set(ROOMS) <= named and named <= {
        name for path in TRACKED for name in (path, path.partition("/")[0])
    }
