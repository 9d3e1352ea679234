"""The inbox: everything in it lands once and moves on; what cannot be read is put aside with its reason."""

from pathlib import Path

import pytest

from counterfoil.errors import ContractError
from counterfoil.landing import read_manifest
from flows import inbox
from flows.inbox import Entry, land_waiting, waiting
from flows.place import Place
from tests.loop_shop import place_of

HEADER = "id,time,person,kind,item\n"
MAPPING = """
name: tills
events:
  {files}columns: {{id: nr, time: at, person: who, item: what}}
  constants: {{kind: purchase}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_of(tmp_path / "home")


def put(place: Place, name: str, text: str) -> Path:
    path = place.settings.home / "inbox" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def events(*days: int) -> str:
    return HEADER + "".join(f"e{day},2024-01-{day:02d}T12:00:00Z,ann,purchase,bread\n" for day in days)


def files(place: Place) -> list[str]:
    top = place.settings.home / "inbox"
    return sorted(path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file())


def test_no_inbox_is_an_empty_one(place: Place) -> None:
    assert waiting(place) == [] and land_waiting(place) == []


def test_what_waits_lands_in_order_and_moves_to_its_batch(place: Place) -> None:
    put(place, "contract/b.csv", events(2, 3))
    put(place, "contract/a.csv", events(1, 2))
    put(place, "contract/late.csv.part", events(9))
    put(place, "contract/.hidden.csv", events(9))
    first, second = land_waiting(place)
    assert (first.rows_in, first.landed, second.landed, second.duplicates) == (2, 2, 1, 1)
    assert files(place) == [
        "contract/.hidden.csv",
        "contract/late.csv.part",
        *sorted([f"done/{first.batch}/a.csv", f"done/{second.batch}/b.csv"]),
    ]
    assert list(read_manifest(place.settings).days) == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert land_waiting(place) == []


def test_a_file_that_landed_but_was_not_moved_changes_nothing(place: Place) -> None:
    put(place, "contract/a.csv", events(1))
    [first] = land_waiting(place)
    digest = read_manifest(place.settings).digest
    put(place, "contract/a.csv", events(1))
    [again] = land_waiting(place)
    assert again.already and again.batch == first.batch
    assert read_manifest(place.settings).digest == digest
    assert files(place) == [f"done/{first.batch}/a.csv", f"done/{first.batch}/a.csv.2"]


def test_a_refused_file_has_its_reason_beside_it_and_stops_nobody(place: Place) -> None:
    put(place, "contract/a.csv", "hat,coat\n1,2\n")
    put(place, "contract/b.csv", events(1))
    put(place, "cvs/c.csv", events(2))
    put(place, "loose.csv", events(3))
    told: list[tuple[str | None, str, type]] = []
    landed = land_waiting(
        place, lambda entry, reason: told.append((entry.kind, entry.path.name, type(reason)))
    )
    assert [batch.landed for batch in landed] == [1]
    assert [(kind, name) for kind, name, _ in told] == [
        (None, "loose.csv"),
        ("contract", "a.csv"),
        ("cvs", "c.csv"),
    ]
    assert told[1][2] is ContractError
    assert files(place) == [
        f"done/{landed[0].batch}/b.csv",
        "refused/a.csv",
        "refused/a.csv.reason.txt",
        "refused/c.csv",
        "refused/c.csv.reason.txt",
        "refused/loose.csv",
        "refused/loose.csv.reason.txt",
    ]
    reasons = {path.name: path.read_text() for path in (place.settings.home / "inbox/refused").glob("*.txt")}
    assert "columns that no event has: hat, coat" in reasons["a.csv.reason.txt"]
    assert reasons["c.csv.reason.txt"].startswith(
        "cvs: no importer is called 'cvs'; there are complete-journey"
    )
    assert "put it into the folder of its kind" in reasons["loose.csv.reason.txt"]


def test_a_second_refusal_of_that_name_overwrites_nothing(place: Place) -> None:
    for _ in range(2):
        put(place, "contract/a.csv", "hat\n1\n")
        land_waiting(place)
    assert files(place) == [
        "refused/a.csv",
        "refused/a.csv.2",
        "refused/a.csv.2.reason.txt",
        "refused/a.csv.reason.txt",
    ]


def test_a_folder_is_one_entry(place: Place) -> None:
    put(place, "contract/monday/events.csv", events(1))
    put(place, "contract/monday/items.csv", "id,title\nbread,Bread\n")
    assert waiting(place) == [Entry(kind="contract", path=inbox.inbox(place) / "contract" / "monday")]
    [landed] = land_waiting(place)
    assert (landed.landed, landed.items) == (1, 1)
    assert files(place) == [f"done/{landed.batch}/monday/{name}.csv" for name in ("events", "items")]


def test_mapped_files_land_by_the_mapping_in_their_folder(place: Place) -> None:
    put(place, "mapped/mapping.yaml", MAPPING.format(files=""))
    put(place, "mapped/till-1.csv", "nr,at,who,what\n1,2024-01-01T10:00:00Z,ann,bread\n")
    put(place, "mapped/till-2.csv", "nr,at,who,what\n2,2024-01-01T11:00:00Z,bob,tea\n")
    assert [batch.landed for batch in land_waiting(place)] == [1, 1]
    assert [name for name in files(place) if not name.startswith("done/")] == ["mapped/mapping.yaml"]


def test_a_mapping_that_names_files_takes_folders_only(place: Place) -> None:
    """Else one waiting file would land its neighbours too, and leave them where they are."""
    put(place, "mapped/mapping.yaml", MAPPING.format(files="files: 'till-*.csv'\n  "))
    put(place, "mapped/till-1.csv", "nr,at,who,what\n1,2024-01-01T10:00:00Z,ann,bread\n")
    put(place, "mapped/monday/till-1.csv", "nr,at,who,what\n2,2024-01-01T10:00:00Z,ann,bread\n")
    [landed] = land_waiting(place)
    assert landed.landed == 1
    assert files(place) == [
        f"done/{landed.batch}/monday/till-1.csv",
        "mapped/mapping.yaml",
        "refused/till-1.csv",
        "refused/till-1.csv.reason.txt",
    ]


def test_without_a_mapping_the_reason_says_so(place: Place) -> None:
    put(place, "mapped/till-1.csv", "nr\n1\n")
    assert land_waiting(place) == []
    assert "needs a mapping file" in (inbox.inbox(place) / "refused/till-1.csv.reason.txt").read_text()
