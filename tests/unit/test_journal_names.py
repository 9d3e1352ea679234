"""Whether an event's id has a person's name in it."""

import pytest

from flows.people.journal import _names


@pytest.mark.parametrize(
    ("name", "event", "there"),
    [
        ("1", "cj:31:1101", False),
        ("1", "order:1:7", True),
        ("ann lee", "web-ann lee-3", True),
        ("ann", "hannah:3", False),
        ("a.b", "x:axb", False),
        ("zoë", "zoë_2", True),
    ],
)
def test_a_name_stands_in_an_id_as_a_whole(name: str, event: str, there: bool) -> None:
    assert _names(name, event) is there
