"""A console over a small shop whose loop was turned once, and visitors of each role; for tests."""

import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.testclient import TestClient

from counterfoil.console.app import create
from counterfoil.console.desk import Desk, desk_of
from counterfoil.console.door import COOKIE
from counterfoil.receipts import Receipts
from counterfoil.types import Receipt, ReceiptItem, Release
from flows.place import Place
from tests.loop_shop import place_of

URL = "http://127.0.0.1:3100"
ANSWERED = datetime(2024, 1, 25, 12, tzinfo=UTC)


@dataclass
class Console:
    """A console, with a key for each role."""

    desk: Desk
    app: Any
    keys: dict[str, str]

    @property
    def place(self) -> Place:
        return self.desk.place

    def stranger(self) -> TestClient:
        """Somebody whom nobody knows."""
        return TestClient(self.app, base_url=URL, follow_redirects=False, raise_server_exceptions=False)

    def machine(self, role: str) -> TestClient:
        """A machine with the key of a role."""
        client = self.stranger()
        client.headers["authorization"] = f"Bearer {self.keys[role]}"
        return client

    def person(self, role: str) -> TestClient:
        """Somebody who is logged in by a browser."""
        client = self.stranger()
        client.cookies.set(COOKIE, self.desk.sessions.begin(self.desk.accounts.all()[role]))
        client.headers["accept"] = "text/html"
        return client


def token(page: httpx.Response) -> str:
    """Return the token that the forms of a page carry."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found is not None, page.text[:500]
    return found.group(1)


def console_of(turned: Path, folder: Path) -> Console:
    """Return a console over a copy of a home, with an account per role."""
    desk = desk_of(place_of(shutil.copytree(turned, folder / "home")))
    roles = ("viewer", "engineer", "approver", "auditor")
    keys = {role: desk.accounts.add_key(role, role) for role in roles}
    return Console(desk, create(desk), keys)


def answer(
    place: Place, *, title: str = "i001", reason: str = "you bought this 3 times", count: int = 1
) -> list[str]:
    """Write receipts as the serving seam would, and return their ids."""
    release = place.catalog.find(Release)[0]
    receipts = Receipts(place.settings.receipts)
    ids = []
    for _ in range(count):
        id = receipts.new_id(ANSWERED)
        receipts.write(
            Receipt(
                id=id, time=ANSWERED, use_case=release.use_case, release=release.id, bento=release.tag, epoch=release.epoch,
                person="p0123456789abcdef", request={"person": "p0123456789abcdef", "n": 1, "context": {}, "filters": {}},
                items=(ReceiptItem(item=title, score=1.5, sources=("repurchase",), reasons=(reason,)),),
                rules=(), features={"history": {"rows": 3}, "person": {"baskets": 3.0}}, feature_time=None, degraded=(),
            )
        )  # fmt: skip
        ids.append(id)
    receipts.close()
    return ids
