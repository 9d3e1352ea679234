"""Whether an online store knows anybody: one that was emptied is filled again by the loop, and the doctor says so."""

import socket
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from counterfoil.errors import UnavailableError
from counterfoil.settings import Settings
from feature_repo import erase, online, repo
from flows import doctor, verbs
from tests.unit.test_feature_erase import HER, HIM, NOON, materialised
from tests.unit.test_feature_erase import redis as redis  # a fixture


def place(settings: Settings, champion: Any = "somebody") -> Any:
    return SimpleNamespace(settings=settings, catalog=SimpleNamespace(champion=lambda use_case: champion))


def test_a_store_knows_people_until_the_last_one_is_gone(home: Path) -> None:
    settings = Settings(home=home)
    assert not online.stands(settings), "nothing was built"
    materialised(settings)
    assert online.stands(settings) and doctor.CHECKS["online"](place(settings))[0] == "ok"
    store = online.OnlineFeatures(settings)
    assert store.knows(HER) and not store.knows("p" + "c" * 20)
    erase.erase_online(settings, HER)
    assert online.stands(settings)
    erase.erase_online(settings, HIM)
    assert not online.stands(settings)
    state, said = doctor.CHECKS["online"](place(settings))
    assert state == "wrong" and "everybody is answered as unknown" in said
    assert doctor.CHECKS["online"](place(settings, champion=None))[0] == "ok"


def test_a_redis_that_was_emptied_is_filled_again(home: Path, redis: str) -> None:
    from redis import Redis

    settings = Settings(home=home, online_store_url=f"{redis},ssl=false")
    materialised(settings)
    assert verbs.materialised(place(settings))
    with Redis.from_url(redis) as client:
        client.flushall()
    assert not verbs.materialised(place(settings))
    state, said = doctor.CHECKS["online"](place(settings))
    assert state == "wrong" and said.startswith(f"Redis at {redis.removeprefix('redis://')} has nobody")


def test_a_redis_that_is_away_is_filled_by_nobody_in_silence(home: Path) -> None:
    materialised(Settings(home=home))
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        gone = Settings(home=home, online_store_url=f"redis://127.0.0.1:{probe.getsockname()[1]}")
    assert not verbs.materialised(place(gone))
    with pytest.raises(UnavailableError, match="does not answer"):
        doctor.CHECKS["online"](place(gone))


def test_a_redis_that_takes_questions_and_answers_none_is_not_waited_for_for_ever(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does whose machine went away without a word: threads that wait for it would all be taken by and by."""
    monkeypatch.setattr(repo, "REDIS_SECONDS", {"socket_timeout": 0.3, "socket_connect_timeout": 0.3})
    materialised(Settings(home=home))
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        hung = Settings(home=home, online_store_url=f"redis://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="does not answer"):
            online.OnlineFeatures(hung).person(HER, NOON)
        assert time.monotonic() - began < 40  # four tries, and pauses of up to some seconds between
