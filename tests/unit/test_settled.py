"""Settings on record: told once, told again when they change, secrets never in clear."""

from pathlib import Path

from counterfoil.settings import Settings
from counterfoil.types import Setting
from flows.place import place_of
from flows.settled import settle, values


def test_settings_are_told_when_they_change_and_only_then(tmp_path: Path) -> None:
    secret = "redis://shop:open-sesame@db/7"
    plain = Settings(home=tmp_path, threads=1)
    other = Settings(home=tmp_path, threads=2, online_store_url=secret, pseudonym_key="hush-hush")
    place = place_of(plain)
    for settings in (plain, plain, other, other, plain):
        settle(settings, place.catalog, place.store)
    told = [noun for noun, _ in place.catalog.recorded(Setting)]
    assert [one.values for one in told] == [values(plain), values(other), values(plain)]
    assert told[1].values["threads"] == "2"
    assert told[1].values["pseudonym_key"] != told[0].values["pseudonym_key"]
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"sesame" not in stored and b"hush" not in stored
    place.catalog.engine.dispose()
