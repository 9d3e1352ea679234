"""How pages say ids, moments, numbers and sizes: plain functions from a value to text."""

import re
from datetime import UTC, datetime, timedelta

NOUN = re.compile(r"(?P<kind>[a-z]+)-(?P<digest>[0-9a-f]{16})")
RECEIPT = re.compile(r"receipt-(?P<day>\d{8})T(?P<time>\d{6})-[0-9a-f]{8}-(?P<number>\d+)")
KINDS = {
    "verdict": "verdict on data",
    "dataset": "version of the data",
    "attempt": "trial of a tuning",
    "candidate": "model",
    "evaluation": "measurement",
    "decision": "decision",
    "bento": "package",
    "online": "features that serve",
    "release": "release",
    "approval": "approval",
    "quarantine": "quarantine",
    "erasure": "erasure",
    "receipt": "answer",
}
UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def kind_of(id: str) -> str:
    """Return what kind of thing an id names, in a word."""
    return id.partition("-")[0]


def kind_words(kind: str) -> str:
    """Return what a kind of noun is, for somebody who never read the code."""
    return KINDS.get(kind, kind)


def is_id(text: str) -> bool:
    """Say whether a text is the id of something on record."""
    return NOUN.fullmatch(text) is not None or RECEIPT.fullmatch(text) is not None


def short(id: str, digits: int = 8) -> str:
    """Return an id that fits into a line: its kind and the first digits, a receipt by its time and number."""
    noun = NOUN.fullmatch(id)
    if noun is not None:
        return f"{noun['kind']}-{noun['digest'][:digits]}"
    receipt = RECEIPT.fullmatch(id)
    if receipt is not None:
        day, time = receipt["day"], receipt["time"]
        return f"{day[:4]}-{day[4:6]}-{day[6:]} {time[:2]}:{time[2:4]}:{time[4:]} no. {receipt['number']}"
    return id if len(id) <= 28 else f"{id[:16]}…{id[-6:]}"


def when(moment: datetime | str | None) -> str:
    """Return a moment as a person reads it, in UTC, to the second."""
    if moment is None:
        return "never"
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was, or how far off it is, in its largest unit."""
    seconds = (now - moment).total_seconds()
    told = span(timedelta(seconds=abs(seconds)))
    return f"{told} ago" if seconds >= 0 else f"in {told}"


def span(duration: timedelta) -> str:
    """Return a duration in its largest unit: `3 days`, `1 minute`, `less than a minute`."""
    seconds = duration.total_seconds()
    for size, name in UNITS:
        count = int(seconds // size)
        if count:
            return f"{count:,} {name}{'s' if count > 1 else ''}"
    return "less than a minute"


def number(value: float | int | None) -> str:
    """Return a number with its thousands parted; four places when it is not whole; a dash for nothing."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"


def plain(value: float | None) -> str:
    """Return a figure with as many places as it has, two at most; a dash for nothing."""
    return "–" if value is None else f"{value:,.2f}".rstrip("0").rstrip(".")


def signed(value: float | None) -> str:
    """Return a difference with its sign, four places."""
    return "–" if value is None else f"{value:+.4f}"


def percent(share: float) -> str:
    """Return a share as a percentage; a place more when it is not whole."""
    whole = round(100 * share, 6)
    return f"{whole:.0f}%" if whole == int(whole) else f"{whole:.1f}%"


def size(count: float | None) -> str:
    """Return bytes in the unit that suits."""
    if count is None:
        return "–"
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count:,.0f} bytes"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun: `1 day`, `3 days`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
