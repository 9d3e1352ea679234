"""What may be in an answer: filters become a mask over the catalogue and a list of excluded items, each with its sentence."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from bentos.recommend.request import Filters
from bentos.recommend.showable import Showable
from bentos.snapshot import Snapshot
from models.data import Interactions


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """`allowed_I` None allows the whole catalogue; `excluded` None excludes nothing. `said` are the sentences."""

    allowed_I: np.ndarray | None
    excluded: np.ndarray | None
    said: tuple[str, ...]


class Catalogue:
    """The catalogue as filters see it: every category and its ancestors as a sorted array of item indices."""

    def __init__(self, items: Snapshot) -> None:
        self.items, self.showable = items, Showable(items)
        by_name: dict[str, list[int]] = {}
        for index, category in enumerate(items.category):
            levels = category.split(" > ") if category else []
            for depth in range(len(levels)):
                by_name.setdefault(" > ".join(levels[: depth + 1]), []).append(index)
        self.by_category = {name: np.array(indices, np.int32) for name, indices in by_name.items()}

    def rules(self, filters: Filters, history: Interactions, as_of_us: int) -> Rules:
        """Return what the filters come to for somebody with this history at that moment.

        What is hidden, or can be had no longer, is left out whatever the filters are.
        """
        shown_I, gone = self.showable.at(as_of_us)
        masks, said = [] if shown_I is None else [shown_I], [*gone]
        if filters.in_stock:
            masks.append(self.items.in_stock_I & (self.items.available_us_I <= as_of_us))
            said.append("only what is in stock")
        if filters.categories:
            masks.append(self._in_categories(filters.categories))
            said.append("only from " + ", ".join(filters.categories))
        if filters.price_min is not None or filters.price_max is not None:
            low, high = filters.price_min or 0.0, filters.price_max
            masks.append(
                (self.items.price_I >= low) & (self.items.price_I <= (np.inf if high is None else high))
            )
            said.append(f"only at {low:g} or more" + ("" if high is None else f" and {high:g} or less"))
        excluded, sentences = self._excluded(filters, history)
        return Rules(
            allowed_I=reduce(np.logical_and, masks) if masks else None,
            excluded=excluded,
            said=(*said, *sentences),
        )

    def _in_categories(self, names: list[str]) -> np.ndarray:
        mask_I = np.zeros(len(self.items), bool)
        for name in names:
            mask_I[self.by_category.get(name, [])] = True
        return mask_I

    def _excluded(self, filters: Filters, history: Interactions) -> tuple[np.ndarray | None, list[str]]:
        said, parts = [], []
        if filters.exclude_bought and len(history):  # nothing known, nothing left out, nothing said
            parts.append(history.item_N)
            said.append(f"nothing among this person's latest {len(history)} known interactions")
        if filters.exclude:
            parts.append(
                np.array([self.items.index[id] for id in filters.exclude if id in self.items.index], np.int32)
            )
            said.append(f"none of {len(filters.exclude)} items that were named")
        return (np.unique(np.concatenate(parts)) if parts else None), said
