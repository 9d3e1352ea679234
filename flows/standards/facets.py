"""Our own facets of OpenLineage events: their shapes are in facets.json, which each names in its `_schemaURL`."""

from functools import cache
from typing import Any

import attr
from openlineage.client.facet_v2 import DatasetFacet, RunFacet

SCHEMA = "urn:counterfoil:openlineage:facets:1-0-0"
PRODUCER = "urn:counterfoil"


def dataset_facet(name: str, **values: Any) -> DatasetFacet:
    """Return a facet of a dataset whose shape is called `name` in facets.json."""
    made: DatasetFacet = _shape(DatasetFacet, name, tuple(values))(**values)
    return made


def run_facet(name: str, **values: Any) -> RunFacet:
    """Return a facet of a run whose shape is called `name` in facets.json."""
    made: RunFacet = _shape(RunFacet, name, tuple(values))(**values)
    return made


@cache
def _shape(base: Any, name: str, fields: tuple[str, ...]) -> Any:
    """Return the class of a facet with these fields: OpenLineage's own are made the same way, from its schemas."""

    def schema() -> str:
        return f"{SCHEMA}#/$defs/{name}"

    made: Any = attr.make_class(
        name, {field: attr.ib(kw_only=True) for field in fields}, bases=(base,), slots=False
    )
    made._get_schema = staticmethod(schema)
    return made
