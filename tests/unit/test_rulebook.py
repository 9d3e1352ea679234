"""Merchandising rules: what may be written, when it holds, and what a broken file comes to."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from bentos.recommend import rulebook
from bentos.recommend.rulebook import BROKEN, NO_RULES, NONE_LEFT, RulesFile
from counterfoil.errors import ConfigError
from counterfoil.files import write_durably

BOOST = {
    "name": "summer",
    "items": ["a"],
    "factor": 2,
    "from": "2026-06-01T00:00:00Z",
    "until": "2026-09-01T00:00:00Z",
}


def rules(**content: Any) -> rulebook.Rulebook:
    return rulebook.of_bytes(orjson.dumps(content))


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"boots": []}, "boots: Extra inputs"),
        ({"boosts": [{"name": "x", "factor": 2}]}, "names no items, categories, brands or sellers"),
        ({"boosts": [{**BOOST, "factor": 0}]}, "boosts.0.factor"),
        ({"boosts": [{**BOOST, "until": "2026-05-01T00:00:00Z"}]}, "from is not before until"),
        ({"boosts": [{**BOOST, "from": "2026-06-01"}]}, "boosts.0.from"),
        ({"pins": [{"name": "x", "item": "a", "place": 0}]}, "pins.0.place"),
        ({"in_stock": "yes"}, "in_stock"),
        ({"explore": {"rate": 0.9}}, "explore.rate"),
        ({"caps": {"seller": 0}}, "caps.seller"),
        ({"caps": {"shop": 2}}, "caps.shop"),
        ({"excludes": [{"name": "x", "items": ["a"], "routes": ["home"]}]}, "excludes.0.routes.0"),
    ],
)
def test_what_is_wrong_is_named(content: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match="the rules are wrong") as caught:
        rules(**content)
    assert said in str(caught.value)


def test_a_rule_holds_from_its_first_moment_until_its_last_on_its_routes() -> None:
    [boost] = rules(boosts=[{**BOOST, "routes": ["cart"]}]).boosts
    assert not boost.holds(us("2026-05-31T23:59:59"), "cart")
    assert boost.holds(us("2026-06-01T00:00:00"), "cart") and not boost.holds(
        us("2026-06-01T00:00:00"), "next"
    )
    assert not boost.holds(us("2026-09-01T00:00:00"), "cart")


def test_the_same_rules_have_the_same_digest_however_they_are_written() -> None:
    assert rulebook.digest(rules(boosts=[BOOST], caps={})) == rulebook.digest(
        rules(boosts=[{**BOOST, "routes": []}])
    )
    assert rulebook.digest(rules(boosts=[BOOST])) != rulebook.digest(rules(boosts=[{**BOOST, "factor": 3}]))
    assert rulebook.digest(NO_RULES) == ""


def test_a_changed_file_holds_at_once_and_its_versions_are_kept(tmp_path: Path) -> None:
    path, kept = tmp_path / "rules.json", tmp_path / "rules"
    held = RulesFile(path, kept)
    assert (held.now().name, held.rules, held.degraded) == ("", NO_RULES, ())
    first = rulebook.place(rules(boosts=[BOOST]), path, kept)
    assert held.now().name == first
    path.write_bytes(orjson.dumps({"caps": {"brand": 2}}))  # by hand: kept too
    second = held.now().name
    assert second != first and rulebook.recalled(kept, second).caps.brand == 2
    assert rulebook.recalled(kept, first) == rules(boosts=[BOOST])
    path.unlink()
    assert (held.now().name, held.degraded) == ("", ())


def test_a_broken_file_leaves_the_last_good_rules_and_says_so(tmp_path: Path) -> None:
    path, kept = tmp_path / "rules.json", tmp_path / "rules"
    held = RulesFile(path, kept)
    good = rulebook.place(rules(boosts=[BOOST]), path, kept)
    held.now()
    path.write_bytes(b'{"boosts": [')
    assert (held.now().name, held.degraded) == (good, (BROKEN,))
    again = RulesFile(path, kept).now()  # a process that starts now
    assert (again.name, again.rules, again.degraded) == (good, rules(boosts=[BOOST]), (BROKEN,))
    rulebook.place(rules(caps={"brand": 1}), path, kept)
    assert held.now().degraded == ()
    none = RulesFile(tmp_path / "other.json", tmp_path / "others")
    (tmp_path / "other.json").write_bytes(b"\xff")
    assert (none.now().rules, none.degraded) == (NO_RULES, (NONE_LEFT,))


def test_rules_that_cannot_be_kept_do_not_hold_and_are_tried_again(tmp_path: Path) -> None:
    """What an answer names is what it was given under; a file stands where the folder of kept versions would be."""
    path, kept = tmp_path / "rules.json", tmp_path / "rules"
    held = RulesFile(path, kept)
    good = rulebook.place(rules(boosts=[BOOST]), path, kept)
    held.now()
    kept.rename(tmp_path / "aside")
    kept.write_bytes(b"")
    path.write_bytes(orjson.dumps({"caps": {"brand": 2}}))
    assert (held.now().name, held.degraded) == (good, (BROKEN,)) and rulebook.digest(held.rules) == good
    kept.unlink()
    assert held.now().degraded == () and held.name == rulebook.digest(held.rules) != good


def test_many_may_write_to_one_place_at_once(tmp_path: Path) -> None:
    path = tmp_path / "last.json"
    contents = [bytes([65 + number]) * 50_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: [write_durably(path, content) for _ in range(10)], contents))
    assert path.read_bytes() in contents and [*tmp_path.iterdir()] == [path]
    blocked = tmp_path / "folder"
    (blocked / "in it").mkdir(parents=True)
    with pytest.raises(OSError):
        write_durably(blocked, b"x")
    assert sorted(tmp_path.iterdir()) == [blocked, path]


def test_a_kept_version_that_was_altered_is_refused(tmp_path: Path) -> None:
    name = rulebook.keep(rules(boosts=[BOOST]), tmp_path)
    rulebook.kept_at(tmp_path, name).write_bytes(b"{}")
    with pytest.raises(ConfigError, match="it was altered"):
        rulebook.recalled(tmp_path, name)
    with pytest.raises(ConfigError, match="are not kept"):
        rulebook.recalled(tmp_path, "0123456789abcdef")
