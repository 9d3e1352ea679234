"""What merchandising rules do to one catalogue: which items they leave out, lift, or give a place. Rules are read in rulebook.py.

Shapes: I items, K candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bentos.recommend.request import Caps
from bentos.recommend.rerank import BRAND, SELLER, SHELF
from bentos.recommend.rulebook import NO_RULES, Boost, Exclude, Pin, Rule, Rulebook, Scope
from bentos.snapshot import Coded, Snapshot

DAY_US = 86_400_000_000
REMEMBERED = 64  # sets of rules that hold together, before all are forgotten


@dataclass(frozen=True, kw_only=True, slots=True)
class Steering:
    """The rules that hold at a moment on a route, by item numbers. None and empty: nothing."""

    excluded: np.ndarray | None = None
    factor_I: np.ndarray | None = None  # float32
    pins: tuple[tuple[int, int], ...] = ()  # (place from 0, item)
    said: tuple[str, ...] = ()


NOTHING = Steering()


class Steer:
    """A rulebook over a catalogue; what holds together is worked out once and remembered."""

    def __init__(
        self, rules: Rulebook, name: str, items: Snapshot, by_category: Mapping[str, np.ndarray]
    ) -> None:
        self.rules, self.name, self.items, self._by_category = rules, name, items, by_category
        self._by_name: dict[tuple[str, str], np.ndarray] = {}
        self._remembered: dict[tuple[bool, ...], Steering] = {}
        self._all = (*rules.excludes, *rules.boosts, *rules.pins)

    @property
    def tired_after(self) -> tuple[int, int] | None:
        """Times shown and microseconds after which an item rests."""
        frequency = self.rules.frequency
        return None if frequency is None else (frequency.shown, round(frequency.days * DAY_US))

    def at(self, at_us: int, route: str) -> Steering:
        """Return what holds at a moment (microseconds since 1970) on a route."""
        if not self._all:
            return NOTHING
        holding = tuple(rule.holds(at_us, route) for rule in self._all)
        if holding not in self._remembered:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[holding] = self._made(
                [rule for rule, holds in zip(self._all, holding, strict=True) if holds]
            )
        return self._remembered[holding]

    def _made(self, holding: Sequence[Rule]) -> Steering:
        excludes = [rule for rule in holding if isinstance(rule, Exclude)]
        boosts = [rule for rule in holding if isinstance(rule, Boost)]
        pins = [rule for rule in holding if isinstance(rule, Pin) and rule.item in self.items.index]
        factor_I = np.ones(len(self.items), np.float32) if boosts else None
        for rule in boosts:
            assert factor_I is not None
            factor_I[self._about(rule)] *= rule.factor
        excluded = [self._about(rule) for rule in excludes]
        return Steering(
            excluded=np.unique(np.concatenate(excluded)) if excluded else None,
            factor_I=factor_I,
            pins=tuple((rule.place - 1, self.items.index[rule.item]) for rule in pins),
            said=tuple(f"rule: {rule.name}" for rule in (*excludes, *boosts, *pins)),
        )

    def _about(self, rule: Scope) -> np.ndarray:
        """Return the items that a rule is about, int32, some perhaps twice; names of nothing are passed over."""
        index = self.items.index
        parts = [np.array([index[id] for id in rule.items if id in index], np.int32)]
        parts += [
            self._by_category[name].astype(np.int32) for name in rule.categories if name in self._by_category
        ]
        parts += [self._of("brand", name) for name in rule.brands]
        parts += [self._of("seller", name) for name in rule.sellers]
        return np.unique(np.concatenate(parts))

    def _of(self, what: str, name: str) -> np.ndarray:
        """Return the items of a brand, or of a seller."""
        if (what, name) not in self._by_name:
            coded: Coded = getattr(self.items, what)
            found_I = coded.code_I == coded.code.get(name, -1)
            self._by_name[what, name] = np.flatnonzero(found_I).astype(np.int32)
        return self._by_name[what, name]

    def caps(self, asked: Caps) -> dict[int, int]:
        """Return the caps by the row of the codes: those that the request asks for, else those of the rules."""
        ruled = self.rules.caps
        found = {
            SHELF: asked.category or ruled.category,
            BRAND: asked.brand or ruled.brand,
            SELLER: asked.seller or ruled.seller,
        }
        return {row: most for row, most in found.items() if most is not None}

    def diversity(self, asked: float | None, usual: float) -> float:
        """Return the diversity: the request's, else the rules', else the bento's usual one."""
        ruled = self.rules.diversity
        return asked if asked is not None else ruled if ruled is not None else usual


def without_rules(items: Snapshot, by_category: Mapping[str, np.ndarray]) -> Steer:
    """Return what steers nothing."""
    return Steer(NO_RULES, "", items, by_category)
