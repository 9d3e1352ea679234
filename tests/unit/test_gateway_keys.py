"""Keys of the public door: made, found, revoked; what of them lies on the disk."""

from pathlib import Path

import orjson
import pytest

from bentos.gateway.admission import Admission
from bentos.gateway.keys import Keys, found
from counterfoil.errors import ConflictError, InputError, IntegrityError, UnknownError
from counterfoil.settings import Settings


def test_a_key_is_found_by_its_text_and_by_no_other(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "gateway")
    made, text = keys.make("shop", ["events", "recommend"], 50)
    other, second = keys.make("other", ["admin"], None)
    held = keys.all()
    assert (found(text, held), found(second, held)) == (made, other)
    assert made.scopes == ("recommend", "events")
    for wrong in (
        "",
        "cfg_",
        text[:-1],
        text + "x",
        text.replace(made.id, other.id),
        f"cfg_{'0' * 12}_{'a' * 43}",
    ):
        assert found(wrong, held) is None


def test_no_secret_is_kept(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "gateway")
    _, text = keys.make("shop", ["recommend"], None)
    content = keys.path.read_text()
    assert text not in content and text.split("_", 2)[2] not in content
    assert keys.path.stat().st_mode & 0o077 == 0
    assert keys.path.parent.stat().st_mode & 0o077 == 0


def test_a_revoked_key_is_no_key_and_opens_nothing(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "gateway")
    assert not keys.begun
    _, text = keys.make("shop", ["recommend"], None)
    reader = Keys(tmp_path / "gateway")
    assert found(text, reader.all())
    keys.revoke("shop")
    assert found(text, reader.all()) is None
    assert reader.begun
    with pytest.raises(UnknownError):
        keys.revoke("shop")


@pytest.mark.parametrize(
    ("name", "scopes", "rate"),
    [
        ("", ["admin"], None),
        ("a b", ["admin"], None),
        ("a", [], None),
        ("a", ["root"], None),
        ("a", ["admin"], 0.0),
        ("a", ["admin"], -1.0),
        ("a", ["admin"], float("nan")),
        ("a", ["admin"], 1e9),
    ],
)
def test_what_will_not_do_makes_no_key(
    tmp_path: Path, name: str, scopes: list[str], rate: float | None
) -> None:
    keys = Keys(tmp_path)
    with pytest.raises(InputError):
        keys.make(name, scopes, rate)
    assert not keys.path.exists()


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.make("shop", ["recommend"], None)
    with pytest.raises(ConflictError):
        keys.make("shop", ["admin"], None)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"keys": [{"id": 1}]}', b"[]"])
def test_a_file_that_is_no_file_of_keys_is_said(tmp_path: Path, content: bytes) -> None:
    keys = Keys(tmp_path)
    keys.path.write_bytes(content)
    with pytest.raises(IntegrityError):
        keys.all()


def test_a_broken_file_is_read_and_told_of_once_and_what_was_held_holds_on(home: Path) -> None:
    keys = Keys(home / "gateway")
    _, text = keys.make("shop", ["recommend"], None)
    admission = Admission(Settings(home=home), "t" * 40, keys)
    whole = keys.path.read_bytes()
    for content in (b"broken", b"broken again"):
        keys.path.write_bytes(content)
        assert "holds no keys" in (admission.renew() or "")
        assert [admission.renew() for _ in range(3)] == [None] * 3
        assert found(text, admission.held)
    keys.path.write_bytes(whole)
    assert admission.renew() is None
    assert keys.all() == admission.held


def test_the_command_line_makes_lists_and_revokes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from counterfoil.cli import app

    def run(*words: str) -> dict:
        done = CliRunner().invoke(app, ["key", *words, "--json"], catch_exceptions=False)
        assert done.exit_code == 0
        return orjson.loads(done.stdout)

    made = run("make", "shop", "--scope", "recommend", "--scope", "events", "--rate", "20")
    assert made["scopes"] == ["recommend", "events"] and made["rate"] == 20
    assert found(made["key"], Keys(home / "gateway").all())
    assert [one["name"] for one in run("list")["keys"]] == ["shop"]
    assert run("revoke", "shop")["revoked"]
    assert run("list")["keys"] == []


def test_the_doctor_says_how_open_the_door_is(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from counterfoil.settings import Settings
    from flows.doctor import CHECKS

    def found(**more: str) -> str:
        return CHECKS["gateway"](SimpleNamespace(settings=Settings(home=tmp_path, **more)))[0]  # type: ignore[arg-type]

    assert found() == "note"
    assert found(gateway_host="0.0.0.0") == "wrong"
    assert found(profile="production", pseudonym_key="ours") == "wrong"
    Keys(tmp_path / "gateway").make("shop", ["recommend"], None)
    assert found() == found(gateway_host="0.0.0.0") == "ok"
