"""Another pseudonym key would make two people of everybody: landing, resubmission and the service refuse it."""

from pathlib import Path

import orjson
import pytest

from bentos.recommend.app import begin
from bentos.recommend.person import People
from bentos.release import Released
from counterfoil.errors import ConfigError
from counterfoil.landing import land, read_manifest, resubmit
from counterfoil.settings import Settings
from tests import bento_shop
from tests.landing_shop import bought, hashes, landed_rows, settings_of, source_of

# HMAC-SHA256 of nothing by the key "one", twenty digits: `printf '' | openssl dgst -sha256 -hmac one`
ONE = "p5008d90d783f5bb36d39"


@pytest.fixture
def one(tmp_path: Path) -> Settings:
    """Settings with a key; by it, one good and one bad row have landed."""
    settings = settings_of(tmp_path / "home", pseudonym_key="one")
    land(source_of(tmp_path, "first", [bought("1", "2024-03-01"), bought("2", "in spring")]), settings)
    return settings


def other(settings: Settings) -> Settings:
    """Return the same installation under another key."""
    return settings_of(settings.home, pseudonym_key="two")


def manifest_file(settings: Settings) -> Path:
    return settings.landing / "manifest.json"


def without_key(settings: Settings) -> None:
    """Make the manifest one of before the key was noted."""
    plain = orjson.loads(manifest_file(settings).read_bytes())
    del plain["key"]
    manifest_file(settings).write_bytes(orjson.dumps(plain))


def test_the_manifest_notes_the_key_and_its_digest_does_not_depend_on_it(one: Settings) -> None:
    noted = read_manifest(one)
    assert noted.key == ONE
    assert b'"one"' not in manifest_file(one).read_bytes()
    without_key(one)
    assert read_manifest(one).key is None and read_manifest(one).digest == noted.digest


def test_nothing_lands_under_another_key(tmp_path: Path, one: Settings) -> None:
    before = hashes(one)
    with pytest.raises(
        ConfigError, match=f"COUNTERFOIL_PSEUDONYM_KEY has the fingerprint .*{ONE}.*set that key again"
    ):
        land(source_of(tmp_path, "second", [bought("3", "2024-03-02")]), other(one))
    with pytest.raises(ConfigError, match="COUNTERFOIL_PSEUDONYM_KEY"):
        resubmit(other(one), read_manifest(one).batches[0].batch)
    assert hashes(one) == before
    land(source_of(tmp_path, "second", [bought("3", "2024-03-02")]), one)
    assert len({row["person"] for row in landed_rows(one)}) == 1


def test_a_manifest_that_names_no_key_takes_the_first_one(tmp_path: Path, one: Settings) -> None:
    without_key(one)
    source = source_of(tmp_path, "first", [bought("1", "2024-03-01"), bought("2", "in spring")])
    assert land(source, one).already
    assert read_manifest(one).key == ONE
    with pytest.raises(ConfigError):
        land(source, other(one))


def test_a_service_does_not_start_under_another_key(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", pseudonym_key="one")
    settings.home.mkdir()
    made = bento_shop.make_bento(tmp_path, settings, "popularity")
    released = Released(release="release-0011223344556677", epoch=1, bento=made.tag)
    people = People(lambda: bento_shop.MemoryOnline("one"))
    with pytest.raises(ConfigError, match=f"but {made.tag} was made with the key of fingerprint {ONE}"):
        begin(made.path, released, other(settings), people)
    assert begin(made.path, released, settings, people).released == released
