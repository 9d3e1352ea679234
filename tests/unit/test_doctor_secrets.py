"""What the doctor says of places and files that hold secrets: no word of the secret, nothing against what a cluster mounts."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bentos import inner
from counterfoil.settings import Settings
from flows import doctor


def place(home: Path, **more: str) -> Any:
    catalog = SimpleNamespace(addresses=list)
    return SimpleNamespace(settings=Settings(home=home, **more), catalog=catalog)  # type: ignore[arg-type]


def test_no_address_is_told_with_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql+psycopg://ann:hush@db:5432/shop"
    state, said = doctor.CHECKS["catalog"](place(tmp_path, catalog_url=url))
    assert (state, said) == ("ok", "postgresql+psycopg://ann:***@db:5432/shop: 0 stored versions")
    monkeypatch.setattr("flows.witness.unsigned", lambda place: [])
    state, said = doctor.CHECKS["ledger"](
        place(tmp_path, checkpoints="https://ann:hush@witness/heads?key=hush")
    )
    assert state == "ok" and "https://witness/heads" in said and "hush" not in said


def test_a_token_that_is_mounted_may_be_read_by_its_group_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = place(tmp_path)
    inner.make_token(here.settings.run)
    token = here.settings.run / inner.FILE
    token.chmod(0o440)
    assert doctor.CHECKS["secrets"](here)[0] == "wrong", "it is our own"
    us = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: us + 1)
    assert doctor.CHECKS["secrets"](here)[0] == "ok"
    token.chmod(0o444)
    assert doctor.CHECKS["secrets"](here)[0] == "wrong"
