"""Segments of the log of collected events (counterfoil/collected.py): people in them are pseudonyms already."""

from pathlib import Path

from counterfoil import collected as log
from counterfoil import segment
from counterfoil.contracts import EVENT
from counterfoil.contracts.field import SQL
from counterfoil.errors import ContractError
from counterfoil.importers.source import Source, digest, existing
from counterfoil.importers.sql import files, literal

KIND = "collected"
VERSION = 1
LINE_BYTES = 1_000_000


def collected(path: Path | None, mapping: Path | None) -> Source:
    """Return the source of a segment, or of a folder of segments; every line's checksum is checked.

    ContractError when there is none, or people in them are pseudonyms by more than one key; IntegrityError when one was altered.
    """
    place = existing(path, KIND)
    paths = tuple(log.segments(place)) if place.is_dir() else (place,)
    if not paths:
        raise ContractError(f"{place} holds no segment of collected events; name one, or a folder of them")
    return Source(
        kind=KIND,
        name="collected " + ", ".join(one.stem for one in paths),
        digest=digest(KIND, VERSION, paths),
        events=_query(paths),
        key=_key(paths),
    )


def _key(paths: tuple[Path, ...]) -> str:
    keys = {log.key_of(path) for path in paths} - {None}
    if len(keys) != 1:
        raise ContractError(
            f"{paths[0].name} and what lies beside it have pseudonyms by {len(keys)} keys; import them one by one"
        )
    for path in paths:
        if path.read_bytes()[-1:] != b"\n":
            raise ContractError(f"{path.name} ends in half a line; `counterfoil data collect` mends that")
        for _ in segment.payloads(path):
            pass  # IntegrityError at the first line that was altered
    return str(keys.pop())


def _query(paths: tuple[Path, ...]) -> str:
    types = {f.name: "VARCHAR" if f.type == "time" else SQL[f.type] for f in EVENT.fields}
    shape = "{" + ", ".join(f'"{name}": "{kind}"' for name, kind in types.items()) + "}"
    lines = (
        f"read_csv({files(paths)}, auto_detect = false, header = false, columns = {{'line': 'VARCHAR'}},"
        f" delim = {literal(chr(31))}, quote = '', escape = '', max_line_size = {LINE_BYTES})"
    )
    whole = (
        f"SELECT substr(line, {segment.CRC_DIGITS + 2}) AS json FROM {lines}"
        " WHERE NOT contains(line, chr(0))"  # torn when power went: checksums and marks were looked at before
        f" AND substr(line, {segment.CRC_DIGITS + 2}, 1) <> {literal(segment.MARK.decode())}"
    )
    return f"""SELECT unnest(from_json(json, {literal(shape)})) FROM ({whole})
               WHERE NOT starts_with(json, '{{"collected"')"""
