"""Services that are late again and again, and routes as they change on the disk."""

from pathlib import Path

import orjson

from bentos import routes
from bentos.gateway.answering import ALONE_SECONDS, LATE_IN_A_ROW, Patience
from bentos.gateway.watch import Watched
from bentos.routes import Route, Routes


def table(epoch: int, **more: str) -> Routes:
    champion = Route(release=f"r{epoch}", bento="b:1", epoch=epoch, url="http://a", stage="champion")
    return Routes(use_case=more.get("use_case", "recommendation"), epoch=epoch, champion=champion)


def test_who_is_late_five_times_in_a_row_is_left_alone_but_for_a_look() -> None:
    patience = Patience()
    for _ in range(LATE_IN_A_ROW - 1):
        patience.note("a", True, 0.0)
    assert not patience.alone("a", 0.1)
    patience.note("a", True, 0.0)
    assert patience.alone("a", 0.1) and not patience.alone("b", 0.1)
    after = ALONE_SECONDS + 0.1
    assert [patience.alone("a", after) for _ in range(3)] == [False, True, True]
    patience.note("a", False, after)
    assert not patience.alone("a", after)


def test_one_answer_in_time_makes_up_for_all_that_were_late() -> None:
    patience = Patience()
    for turn in range(3 * LATE_IN_A_ROW):
        patience.note("a", turn % LATE_IN_A_ROW != 0, 0.0)
        assert not patience.alone("a", 0.1)


def test_routes_are_taken_once_per_change_and_never_go_back(tmp_path: Path) -> None:
    taken: list[int] = []
    watched = Watched(tmp_path / "routes.json", lambda table: taken.append(table.epoch))
    watched.look()
    assert watched.current is None
    for epoch in (1, 1, 3, 2, 4):
        routes.write(table(epoch), watched.path)
        watched.look()
        watched.look()
    assert taken == [1, 1, 3, 4]
    watched.path.unlink()
    watched.look()
    assert watched.current is not None and watched.current.epoch == 4


def test_another_use_case_has_epochs_of_its_own(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "routes.json", lambda table: None)
    routes.write(table(7), watched.path)
    watched.look()
    routes.write(table(1, use_case="search"), watched.path)
    watched.look()
    assert watched.current is not None and watched.current.use_case == "search"


def test_a_file_that_is_wrong_is_passed_over_until_it_is_right(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "routes.json", lambda table: None)
    for content in (b"", b"[]", b'{"champion": 3}', orjson.dumps({"use_case": "x"})):
        watched.path.write_bytes(content)
        watched.look()
        assert watched.current is None
    routes.write(table(1), watched.path)
    watched.look()
    assert watched.current == table(1)
