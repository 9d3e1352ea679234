"""The shop's planted truths: vectors, prices, popularity, arrivals, trends, seasons. No events.

Shapes: P people, I items, C categories, T types (kinds of product, sorted by category), D tastes, K = D + 3, E epochs (before and
after the drift; 1 when there is none). People and items are numbered in the order in which they arrive.

True preference of person p for item i: logit = 3 u.v - (price band apart)^2 / 4 + 0.6 quality - 0.9. It is the dot product of
`person_EPK` and `item_IK`, so that any pair costs one dot product.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from counterfoil.simulator import wording
from counterfoil.simulator.chance import Stream, generator, hashed
from counterfoil.simulator.config import ShopConfig

TASTE, BAND, QUALITY, LEVEL = 3.0, 0.25, 0.6, -0.9
CHANNELS = ("web", "app", "store")


@dataclass(frozen=True, kw_only=True)
class Items:
    """The catalogue. `log_weight_EI` is popularity; `burst_day_I` (-1: none) the peak of a fashion."""

    arrival_I: np.ndarray
    type_I: np.ndarray
    category_I: np.ndarray
    vector_IK: np.ndarray
    price_I: np.ndarray
    quality_I: np.ndarray
    brand_I: np.ndarray
    adjective_I2: np.ndarray
    trend_I: np.ndarray
    burst_day_I: np.ndarray
    log_weight_EI: np.ndarray
    centroid_CD: np.ndarray
    log_category_EC: np.ndarray
    season_peak_C: np.ndarray
    season_size_C: np.ndarray


@dataclass(frozen=True, kw_only=True)
class People:
    """Who comes. `activity_P` is the relative rate of visits; `band_P` how dear the things are that a person takes."""

    arrival_P: np.ndarray
    vector_EPK: np.ndarray
    activity_P: np.ndarray
    band_P: np.ndarray
    channel_P: np.ndarray


@dataclass(frozen=True)
class World:
    """All that is true about a shop, and what follows from it for a day."""

    config: ShopConfig
    items: Items
    people: People

    @property
    def epochs(self) -> int:
        """Number of epochs: 2 with a drift, else 1."""
        return len(self.people.vector_EPK)

    def epoch(self, day_N: np.ndarray) -> np.ndarray:
        """Return 1 for days at or after the drift, else 0."""
        return epoch(self.config, day_N)

    @cached_property
    def shelf_I(self) -> np.ndarray:
        """Item numbers sorted by type: what lies side by side is of one kind."""
        return np.argsort(self.items.type_I, kind="stable").astype(np.int32)

    @cached_property
    def type_start(self) -> np.ndarray:
        """Where each type starts on the shelf, int64 [T+1]."""
        counts = np.bincount(self.items.type_I, minlength=self.types)
        return np.r_[0, np.cumsum(counts)]

    @property
    def categories(self) -> int:
        """Number of categories, C."""
        return len(self.items.centroid_CD)

    @property
    def types(self) -> int:
        """Number of types, T."""
        return self.categories * self.kinds

    @property
    def kinds(self) -> int:
        """Types per category."""
        return wording.shelves(self.config.items)[1]

    def logits(self, epoch_N: np.ndarray, person_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
        """Return the true preference of each pair, float32 [N] (or [N, M] for items [N, M])."""
        person_NK = self.people.vector_EPK[epoch_N, person_N]
        item_NK = self.items.vector_IK[item_N]
        return np.einsum("nk,nk->n" if item_N.ndim == 1 else "nk,nmk->nm", person_NK, item_NK)

    def log_weights(self, day: int) -> np.ndarray:
        """Return the log popularity of each item on a day, -inf for what has not arrived, float64 [I]."""
        items = self.items
        age_I = day - items.arrival_I
        log_I = items.log_weight_EI[self.epoch(np.asarray(day))] + items.trend_I * (day / 365)
        log_I = log_I + np.where(items.arrival_I > 0, 1.2 * np.exp(-np.maximum(age_I, 0) / 14), 0)
        burst_I = 3.0 * np.exp(-(((day - items.burst_day_I) / 5.0) ** 2))
        log_I = log_I + np.where(items.burst_day_I >= 0, burst_I, 0)
        return np.where(age_I >= 0, log_I, -np.inf)

    def log_categories(self, day: int) -> np.ndarray:
        """Return the log size of each category on a day, with its season, float64 [C]."""
        items = self.items
        year_day = self.config.day_start(day).timetuple().tm_yday
        season_C = items.season_size_C * np.cos(2 * np.pi * (year_day - items.season_peak_C) / 365)
        return items.log_category_EC[self.epoch(np.asarray(day))] + season_C

    def prices(self, day_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
        """Return prices on these days: one week in twelve an item costs a fifth less, float64 [N], whole cents."""
        return prices(self.config.seed, self.items.price_I, day_N, item_N)


def prices(seed: int, price_I: np.ndarray, day_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
    """Return what items cost on these days, float64 [N], whole cents."""
    offer_N = hashed(seed, item_N, day_N // 7) < 1 / 12
    return np.rint(price_I[item_N] * np.where(offer_N, 80, 100)) / 100


def epoch(config: ShopConfig, day_N: np.ndarray) -> np.ndarray:
    """Return 1 for days at or after the drift, else 0, int64."""
    return np.asarray(day_N >= (config.days * 100 if config.drift_day is None else config.drift_day)).astype(
        np.int64
    )


def build(config: ShopConfig) -> World:
    """Return the world that a config stands for."""
    items = _items(config)
    return World(config, items, _people(config, items))


def _items(config: ShopConfig) -> Items:
    rng = generator(config.seed, Stream.ITEMS)
    count, (categories, kinds) = config.items, wording.shelves(config.items)
    types = categories * kinds
    type_I = np.r_[np.arange(types), rng.integers(0, types, count)][:count].astype(np.int32)
    category_I = (type_I // kinds).astype(np.int32)
    centroid_CD = _unit(rng.standard_normal((categories, config.tastes)))
    own_ID = rng.standard_normal((count, config.tastes)) * (0.9 / config.tastes**0.5)
    kind_TD = rng.standard_normal((types, config.tastes)) * (0.4 / config.tastes**0.5)
    vector_ID = _unit(centroid_CD[category_I] + kind_TD[type_I] + own_ID)
    band_I = rng.standard_normal(count)
    quality_I = 0.3 * band_I + 0.95 * rng.standard_normal(count)
    typical_C = np.array([shelf[1] for shelf in wording.SHELVES[:categories]])
    rank_I = rng.permutation(count) + 1
    base_I = -0.9 * np.log(rank_I) + 0.4 * quality_I
    burst_I = np.where(rng.random(count) < 0.01, rng.integers(0, config.days, count), -1)
    return Items(
        arrival_I=_arrivals(rng, count, max(types, count - int(count * config.cold_item_share)), config.days),
        type_I=type_I,
        category_I=category_I,
        vector_IK=_item_vectors(vector_ID, band_I, quality_I),
        price_I=np.maximum(np.rint(typical_C[category_I] * np.exp(0.45 * band_I) * 100), 10) / 100,
        quality_I=quality_I,
        brand_I=(rng.zipf(1.4, count) % wording.BRANDS).astype(np.int32),
        adjective_I2=_adjectives(vector_ID - centroid_CD[category_I]),
        trend_I=0.6 * rng.standard_normal(count),
        burst_day_I=burst_I,
        log_weight_EI=_shifted(config, base_I, rng.permutation(base_I)),
        centroid_CD=centroid_CD,
        log_category_EC=_shifted(config, *(0.5 * rng.standard_normal((2, categories)))),
        season_peak_C=rng.integers(1, 366, categories),
        season_size_C=rng.uniform(0, 0.7, categories),
    )


def _people(config: ShopConfig, items: Items) -> People:
    rng = generator(config.seed, Stream.PEOPLE)
    count = config.people
    band_P = rng.standard_normal(count)
    vector_PD = _tastes(rng, count, items.centroid_CD)
    before_PK = _person_vectors(vector_PD, band_P)
    epochs = [before_PK]
    if config.drift_day is not None:
        other_PD = _tastes(generator(config.seed, Stream.DRIFT), count, items.centroid_CD)
        angle = config.drift_strength * np.pi / 2
        mixed_PD = np.float32(np.cos(angle)) * vector_PD + np.float32(np.sin(angle)) * other_PD
        epochs.append(_person_vectors(_unit(mixed_PD), band_P))
    return People(
        arrival_P=_arrivals(rng, count, max(1, count - int(count * config.cold_person_share)), config.days),
        vector_EPK=np.stack(epochs),
        activity_P=np.exp(1.1 * rng.standard_normal(count)),
        band_P=band_P,
        channel_P=rng.choice(len(CHANNELS), count, p=(0.45, 0.4, 0.15)).astype(np.int8),
    )


def _tastes(rng: np.random.Generator, count: int, centroid_CD: np.ndarray) -> np.ndarray:
    """Return taste vectors: each person leans to three categories, the first most, plus a share of their own."""
    own_PD = rng.standard_normal((count, centroid_CD.shape[1]), np.float32) * np.float32(0.25)
    for weight in (1.0, 0.6, 0.3):
        own_PD += np.float32(weight) * centroid_CD[rng.integers(0, len(centroid_CD), count)].astype(
            np.float32
        )
    return _unit(own_PD)


def _person_vectors(taste_PD: np.ndarray, band_P: np.ndarray) -> np.ndarray:
    columns = (TASTE * taste_PD, 2 * BAND * band_P[:, None], (LEVEL - BAND * band_P**2)[:, None])
    return np.hstack([*columns, np.ones((len(band_P), 1))]).astype(np.float32)


def _item_vectors(taste_ID: np.ndarray, band_I: np.ndarray, quality_I: np.ndarray) -> np.ndarray:
    own_I1 = (QUALITY * quality_I - BAND * band_I**2)[:, None]
    return np.hstack([taste_ID, band_I[:, None], np.ones((len(band_I), 1)), own_I1]).astype(np.float32)


def _unit(vector_ND: np.ndarray) -> np.ndarray:
    return vector_ND / np.sqrt(np.square(vector_ND).sum(axis=1, keepdims=True))


def _adjectives(own_ID: np.ndarray) -> np.ndarray:
    """Return the codes of the adjectives of the two strongest own traits, int64 [I, 2]."""
    strongest_I2 = np.argsort(-np.abs(own_ID), axis=1, kind="stable")[:, :2]
    return 2 * strongest_I2 + (np.take_along_axis(own_ID, strongest_I2, axis=1) < 0)


def _arrivals(rng: np.random.Generator, count: int, warm: int, days: int) -> np.ndarray:
    """Return days of arrival, ascending, int64 [count]: the first `warm` were there before day 0."""
    warm = min(warm, count) if days > 1 else count
    later = np.sort(rng.integers(1, max(days, 2), count - warm))
    return np.r_[np.zeros(warm, np.int64), later]


def _shifted(config: ShopConfig, before: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the epochs of a log weight: as it is, and after the drift mixed with another draw by its strength."""
    if config.drift_day is None:
        return before[None]
    strength = config.drift_strength
    return np.stack([before, (1 - strength) * before + strength * other])
