"""The mapping file: how a shop's own columns become the contract's. Pydantic, since it is a border; YAML on the disk."""

from pathlib import Path
from typing import Literal
from zoneinfo import available_timezones

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from counterfoil.contracts import EVENT, ITEM, KINDS, PERSON, Contract
from counterfoil.errors import ContractError
from counterfoil.importers.table import Format
from counterfoil.importers.text import Encoding, Shape


class Strict(BaseModel):
    """A part of the file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeMap(Strict):
    """How times are written: text (ISO 8601), text of a strptime format, or a number since 1970."""

    unit: Literal["text", "s", "ms", "us"] = "text"
    format: str | None = None
    zone: str = "UTC"

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError(f"{zone!r} is no time zone; write it as Europe/Berlin")
        return zone


class IdMap(Strict):
    """An id made from columns: `prefix:value:value`; a colon within a value is doubled.

    `number_repeats`: rows alike in these columns are several events, numbered in the order of the file; else they are one.
    """

    columns: list[str] = Field(min_length=1)
    prefix: str = ""
    number_repeats: bool = False


class TableMap(Strict):
    """One table: its files, how they are written, and where each of the contract's columns comes from."""

    files: str | None = None
    format: Format | None = None
    separator: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', max_length=1)
    escape: str = Field(default='"', max_length=1)
    encoding: Encoding = "utf-8"
    columns: dict[str, str] = {}
    constants: dict[str, str | int | float] = {}
    kinds: dict[str, str] = {}
    time: TimeMap = TimeMap()
    id: IdMap | None = None

    @property
    def shape(self) -> Shape:
        """How text files of this table are parted."""
        return Shape(separator=self.separator, quote=self.quote, escape=self.escape, encoding=self.encoding)

    @property
    def fields(self) -> set[str]:
        """The contract's columns that the table fills."""
        return self.columns.keys() | self.constants.keys() | ({"id"} if self.id else set())

    @field_validator("kinds")
    @classmethod
    def _allowed(cls, kinds: dict[str, str]) -> dict[str, str]:
        if wrong := sorted(set(kinds.values()) - set(KINDS)):
            raise ValueError(f"{', '.join(wrong)}: no kind of event; there are {', '.join(KINDS)}")
        return kinds


class Mapping(Strict):
    """The whole file: a name for people, and up to three tables."""

    name: str
    events: TableMap | None = None
    items: TableMap | None = None
    people: TableMap | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Mapping":
        faults = [f for t, contract in CONTRACTS.items() for f in _faults(t, getattr(self, t), contract)]
        if not (self.events or self.items or self.people):
            faults.append("it maps nothing; write events, items or people")
        if faults:
            raise ValueError("; ".join(faults))
        return self


CONTRACTS = {"events": EVENT, "items": ITEM, "people": PERSON}


def read_mapping(path: Path) -> Mapping:
    """Return the mapping that a YAML file holds. Raises ContractError, naming all faults at once."""
    if not path.is_file():
        raise ContractError(f"there is no mapping {path}; write one as docs/how-to/import-data.md shows")
    try:
        return Mapping.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise ContractError(f"{path.name} is not YAML: {' '.join(str(fault).split())}; mend it") from fault
    except ValidationError as fault:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'mapping'}: {e['msg']}" for e in fault.errors())
        raise ContractError(f"{path.name}: {said}; mend the mapping") from fault


def _faults(name: str, table: TableMap | None, contract: Contract) -> list[str]:
    if table is None:
        return []
    strange = sorted(table.fields - set(contract.names))
    missing = [f.name for f in contract.fields if f.required and f.name not in table.fields]
    faults = (
        [f"{name} has no column {', '.join(strange)}; there are {', '.join(contract.names)}"]
        if strange
        else []
    )
    return faults + ([f"{name} needs {', '.join(missing)}"] if missing else [])
