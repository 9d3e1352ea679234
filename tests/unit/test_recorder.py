"""The recording seam: what was done is remembered, by what it was done with; what failed or was lost is done again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counterfoil.catalog import Catalog, Made, Outcome, Passage, Recorder, Unrecorded
from counterfoil.store import Store
from counterfoil.types import Candidate, Noun, Verdict


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A config of the one family of this shop."""

    depth: int = 1
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Other:
    """Another family's config with the same fields."""

    depth: int = 1
    words: tuple[str, ...] = ()


class Kitchen:
    """Two verbs over a real store: `weigh` makes a verdict, `bake` a candidate whose loaf lies in the store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        self.catalog = Catalog(f"sqlite:///{folder / 'catalog.sqlite'}")
        self.ran: list[str] = []
        self.stale = ""

    def recorder(self, **options: Any) -> Recorder:
        return Recorder(
            **{
                "catalog": self.catalog,
                "store": self.store,
                "code": {"bake": "1", "weigh": "1"},
                **options,
            }
        )

    def weigh(self, days: Any, **more: Any) -> Made:
        """Weigh."""
        self.ran.append("weigh")
        return Made(
            nouns=(Verdict(subject=str(days), sha256="0", rows=1, passed=True, checks=(), suite="s"),)
        )

    def bake(self, flour: Noun | Sequence[Noun] | None, recipe: Any, seed: int = 0) -> Made:
        """Bake."""
        self.ran.append("bake")
        loaf = self.folder / "loaf"
        loaf.mkdir(exist_ok=True)
        (loaf / "crumb").write_text(f"{flour} {recipe} {seed}{self.stale}")
        stored = self.store.put(loaf)
        baked = Candidate(
            use_case="bread",
            family="loaf",
            config={},
            seed=seed,
            dataset="d",
            address=stored.address,
            sha256=stored.sha256,
            code_version="v",
        )
        return Made(nouns=(baked,), stored=(stored,))

    def baker(self, **options: Any) -> Callable[..., Any]:
        return self.recorder(**options).wrap(self.bake)


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


def flour(subject: str = "rye") -> Verdict:
    return Verdict(subject=subject, sha256="0", rows=1, passed=True, checks=(), suite="s")


def test_the_same_inputs_are_remembered(kitchen: Kitchen) -> None:
    assert kitchen.baker()(None, Recipe()) == kitchen.baker()(None, Recipe())
    assert kitchen.ran == ["bake"]


@pytest.mark.parametrize(
    "arguments",
    [
        (None, Recipe(depth=2)),
        (None, Recipe(words=("a",))),
        (None, Other()),
        (None, Recipe(), 1),
        (None, None),
        (None, {"depth": 1}),
    ],
)
def test_other_inputs_run_again(kitchen: Kitchen, arguments: tuple) -> None:
    kitchen.baker()(None, Recipe())
    kitchen.baker()(*arguments)
    assert kitchen.ran == ["bake", "bake"]


def test_a_change_of_the_verbs_code_runs_it_again_and_nobody_else(kitchen: Kitchen) -> None:
    for code in ({"bake": "1", "weigh": "1"}, {"bake": "2", "weigh": "1"}):
        memory = kitchen.recorder(code=code)
        memory.wrap(kitchen.weigh)(1)
        memory.wrap(kitchen.bake)(None, Recipe())
    assert kitchen.ran == ["weigh", "bake", "bake"]


def test_two_verbs_of_the_same_arguments_are_two(kitchen: Kitchen) -> None:
    def weigh(days: Any) -> Made:
        return kitchen.weigh(days)

    def sift(days: Any) -> Made:
        return kitchen.weigh(days)

    memory = kitchen.recorder()
    memory.wrap(weigh)(1)
    memory.wrap(sift)(1)
    assert kitchen.ran == ["weigh", "weigh"]


def test_a_dict_is_its_content_whatever_its_order(kitchen: Kitchen) -> None:
    weigh = kitchen.recorder().wrap(kitchen.weigh)
    weigh({"a": "1", "b": "2"})
    weigh({"b": "2", "a": "1"})
    assert kitchen.ran == ["weigh"]
    weigh({"a": "1", "b": "3"})
    assert kitchen.ran == ["weigh", "weigh"]


def test_a_moment_and_keywords_count(kitchen: Kitchen) -> None:
    weigh = kitchen.recorder().wrap(kitchen.weigh)
    weigh(datetime(2024, 1, 1, tzinfo=UTC))
    weigh(datetime(2024, 1, 2, tzinfo=UTC))
    weigh(datetime(2024, 1, 2, tzinfo=UTC), more=1)
    weigh(datetime(2024, 1, 2, tzinfo=UTC), more=1)
    assert kitchen.ran == ["weigh"] * 3


def test_a_label_does_not_count(kitchen: Kitchen) -> None:
    weigh = kitchen.recorder().wrap(kitchen.weigh)
    weigh(1, label="one")
    weigh(1, label="another")
    assert kitchen.ran == ["weigh"]


def test_nouns_count_by_what_names_them_and_become_parents(kitchen: Kitchen) -> None:
    kitchen.catalog.record("sow", "rye", [flour("rye"), flour("oats")], [], [], 0.0)
    bake = kitchen.baker()
    plain = bake(flour("rye"), Recipe())
    both = bake([flour("rye"), flour("oats")], Recipe())
    assert kitchen.catalog.parents(plain.id) == [("verdict", flour("rye").id)]
    assert kitchen.catalog.parents(both.id) == sorted(
        [("verdict", flour("rye").id), ("verdict", flour("oats").id)]
    )
    bake(flour("rye"), Recipe())
    assert kitchen.ran == ["bake", "bake"]


@pytest.mark.parametrize("what", ["file", "list"])
def test_a_version_that_the_store_lost_is_made_again(kitchen: Kitchen, what: str) -> None:
    made = kitchen.baker()(None, Recipe())
    lost = (
        kitchen.store._object(made.address) if what == "list" else kitchen.store._files(made.address)["crumb"]
    )
    lost.unlink()
    assert kitchen.baker()(None, Recipe()) == made
    assert kitchen.ran == ["bake", "bake"]
    assert kitchen.store.has(made.address)
    kitchen.baker()(None, Recipe())
    assert kitchen.ran == ["bake", "bake"]


def test_what_comes_out_differently_the_second_time_is_remembered(kitchen: Kitchen) -> None:
    made = kitchen.baker()(None, Recipe())
    kitchen.store._object(made.address).unlink()
    kitchen.stale = " older"
    again = kitchen.baker()(None, Recipe())
    assert again.id != made.id
    assert kitchen.baker()(None, Recipe()) == again
    assert kitchen.ran == ["bake", "bake"]


def test_what_no_longer_stands_is_done_again(kitchen: Kitchen) -> None:
    stands = True
    present = kitchen.recorder().wrap(kitchen.weigh, present=lambda noun: stands)
    lasts = kitchen.recorder().wrap(kitchen.weigh, lasts=lambda: stands)
    present(1)
    lasts(1)
    assert kitchen.ran == ["weigh"]
    stands = False
    present(1)
    lasts(1)
    assert kitchen.ran == ["weigh"] * 3


def test_a_verb_of_many_nouns_or_none(kitchen: Kitchen) -> None:
    def split(count: int) -> Made:
        kitchen.ran.append("split")
        return Made(nouns=tuple(flour(f"grain {number}") for number in range(count)))

    divided = kitchen.recorder().wrap(split, many=True)
    assert divided(3) == divided(3) == (flour("grain 0"), flour("grain 1"), flour("grain 2"))
    assert divided(0) == divided(0) == ()
    assert kitchen.ran == ["split", "split"]


def test_looking_runs_and_writes_nothing(kitchen: Kitchen) -> None:
    with pytest.raises(Unrecorded, match="bake") as missing:
        kitchen.baker(look=True)(None, Recipe())
    assert missing.value.verb == "bake"
    assert kitchen.ran == [] and list(kitchen.catalog.rows()) == []
    made = kitchen.baker()(None, Recipe())
    assert kitchen.baker(look=True)(None, Recipe()) == made


def test_a_verb_that_fails_leaves_nothing(kitchen: Kitchen) -> None:
    def burn(flour: Any) -> Made:
        kitchen.ran.append("burn")
        kitchen.bake(flour, Recipe())
        raise RuntimeError("the oven is on fire")

    memory = kitchen.recorder()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="on fire"):
            memory.wrap(burn)(None)
    assert kitchen.ran == ["burn", "bake"] * 2
    assert list(kitchen.catalog.rows()) == [] and kitchen.catalog.addresses() == []
    assert memory.outcomes == []


def test_a_watcher_is_told_what_begins_and_what_ends(kitchen: Kitchen) -> None:
    began: list[tuple[str, str]] = []
    ended: list[Outcome] = []
    memory = kitchen.recorder(on_start=lambda verb, label: began.append((verb, label)), on_end=ended.append)
    bake = memory.wrap(kitchen.bake)
    made = bake(None, Recipe(), label="rye")
    bake(None, Recipe(), label="rye")
    assert began == [("bake", "rye")]
    assert [(o.verb, o.label, o.skipped, o.nouns) for o in ended] == [
        ("bake", "rye", False, (made.id,)),
        ("bake", "rye", True, (made.id,)),
    ]
    assert memory.outcomes == ended


class Audience:
    """Keeps what it is told of passages."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def began(self, passage: Passage) -> None:
        self.told.append(("began", passage.verb, passage.label, [noun.id for noun in passage.taken]))

    def ended(self, passage: Passage, nouns: Sequence[Noun], *, remembered: bool) -> None:
        self.told.append(("ended", passage.verb, [noun.id for noun in nouns], remembered))

    def failed(self, passage: Passage, fault: BaseException) -> None:
        self.told.append(("failed", passage.verb, str(fault)))


def test_observers_are_told_what_was_taken_what_came_of_it_and_what_failed(kitchen: Kitchen) -> None:
    kitchen.catalog.record("sow", "rye", [flour("rye")], [], [], 0.0)
    audience = Audience()
    memory = kitchen.recorder(observers=(audience,))
    made = memory.wrap(kitchen.bake)([flour("rye"), flour("rye")], Recipe(), label="loaf")
    memory.wrap(kitchen.bake)([flour("rye"), flour("rye")], Recipe())
    assert audience.told == [
        ("began", "bake", "loaf", [flour("rye").id]),
        ("ended", "bake", [made.id], False),
        ("ended", "bake", [made.id], True),
    ]
    audience.told.clear()

    def burn(flour: Any) -> Made:
        raise RuntimeError("the oven is on fire")

    def leave(flour: Any) -> Made:
        raise KeyboardInterrupt

    with pytest.raises(RuntimeError):
        memory.wrap(burn)(None)
    with pytest.raises(KeyboardInterrupt):
        memory.wrap(leave)(None)
    assert audience.told == [
        ("began", "burn", "", []),
        ("failed", "burn", "the oven is on fire"),
        ("began", "leave", "", []),
        ("failed", "leave", ""),
    ]


def test_an_observer_is_told_nothing_when_a_recorder_only_looks(kitchen: Kitchen) -> None:
    audience = Audience()
    with pytest.raises(Unrecorded):
        kitchen.baker(look=True, observers=(audience,))(None, Recipe())
    assert audience.told == []


def test_what_was_given_goes_by_the_names_of_the_parameters(kitchen: Kitchen) -> None:
    given: list[dict[str, Any]] = []

    class Names(Audience):
        def began(self, passage: Passage) -> None:
            given.append(passage.given)

    kitchen.recorder(observers=(Names(),)).wrap(kitchen.bake)(None, Recipe(), seed=4)
    assert given == [{"flour": None, "recipe": Recipe(), "seed": 4}]


def test_a_wrapped_verb_keeps_its_name_and_its_sentence(kitchen: Kitchen) -> None:
    bake = kitchen.baker()
    assert (bake.__name__, bake.__doc__) == ("bake", "Bake.")


def test_what_has_no_plain_form_is_refused_before_anything_runs(kitchen: Kitchen) -> None:
    with pytest.raises((TypeError, ValueError)):
        kitchen.recorder().wrap(kitchen.weigh)(object())
    assert kitchen.ran == []
