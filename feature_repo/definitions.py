"""What Feast knows: entities, sources, feature views, feature services. Feast's command line imports this file alone.

`define(settings)` makes the objects for any home; the module's own are those of the home that the environment names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, FeastType, Float32, Int64, String

from counterfoil import settings
from feature_repo import recent
from feature_repo.transforms import ITEM_FEATURES, PAIR_FEATURES, PERSON_FEATURES

SERVING = "recommendation_v1"
TRAINING = "recommendation_train_v1"
SEQUENCES: Mapping[str, FeastType] = {
    "affinity_categories": Array(String),
    "affinity_shares": Array(Float32),
    "history_items": Array(String),
    "history_times": Array(Int64),
    "history_quantities": Array(Float32),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Definitions:
    """Every object of the repository."""

    entities: tuple[Entity, ...]
    sources: tuple[FileSource | PushSource, ...]
    views: tuple[FeatureView, ...]
    services: tuple[FeatureService, ...]

    @property
    def all(self) -> list[Entity | FileSource | PushSource | FeatureView | FeatureService]:
        """Everything, in the order in which one builds on the other."""
        return [*self.entities, *self.sources, *self.views, *self.services]


def define(features: Path, ttl_days: int) -> Definitions:
    """Return the definitions over the partitions in the folder `features`; feature rows are good for `ttl_days`."""
    person = Entity(
        name="person", join_keys=["person"], value_type=ValueType.STRING, description="a pseudonym"
    )
    item = Entity(
        name="item", join_keys=["item"], value_type=ValueType.STRING, description="an item of the catalogue"
    )
    sources = {view: _source(features, view) for view in ("person", "item", "pair")}
    pushed = PushSource(name="recent_push", batch_source=_source(features, recent.VIEW))

    def view(
        name: str, entities: list[Entity], names: tuple[str, ...], *, online: bool = False
    ) -> FeatureView:
        fields = [Field(name=feature, dtype=Float32) for feature in names]
        fields += [Field(name=key, dtype=kind) for key, kind in SEQUENCES.items()] if online else []
        keys = [Field(name=entity.name, dtype=String) for entity in entities]
        return FeatureView(
            name=name,
            entities=entities,
            ttl=timedelta(days=ttl_days),
            schema=[*keys, *fields],
            source=sources[name],
            online=online,
        )

    people = view("person", [person], PERSON_FEATURES, online=True)
    items = view("item", [item], ITEM_FEATURES)
    pairs = view("pair", [person, item], PAIR_FEATURES)
    # Under a person's pseudonym, or that of a session. Pushed as it happens, so there is nothing to materialise.
    happened = FeatureView(
        name=recent.VIEW,
        entities=[person],
        ttl=timedelta(days=recent.DAYS),
        schema=[Field(name=name, dtype=String) for name in (person.name, *recent.FIELDS)],
        source=pushed,
        online=True,
    )
    return Definitions(
        entities=(person, item),
        sources=(*sources.values(), pushed),
        views=(people, items, pairs, happened),
        services=(
            FeatureService(name=SERVING, features=[people]),
            FeatureService(name=TRAINING, features=[people[list(PERSON_FEATURES)], items, pairs]),
        ),
    )


def _source(features: Path, view: str) -> FileSource:
    return FileSource(
        name=f"{view}_partitions",
        path=str(features / view),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )


def _home_features(config: settings.Settings) -> Path:
    """Return the features folder; Feast's command line runs inside feature_repo/, where the default home would be another."""
    named = "home" in config.model_fields_set
    return config.features if named else config.project / ".counterfoil" / "features"


_SETTINGS = settings.load()
_HERE = define(_home_features(_SETTINGS), _SETTINGS.feature_ttl_days)
person, item = _HERE.entities
person_source, item_source, pair_source, recent_push = _HERE.sources
person_view, item_view, pair_view, recent_view = _HERE.views
recommendation_v1, recommendation_train_v1 = _HERE.services
