"""Honest histories of the ledger: whatever is done in whatever order, however often somebody is killed, nothing is named."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from counterfoil.errors import UnavailableError
from counterfoil.ledger import Head, Notary, verifier
from flows import book, witness
from flows.place import Place
from tests.ledger_home import faults, judged, opened


@cache
def empty() -> Path:
    """Return a home whose tables were made, to be copied: making them takes a second."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))
    opened(folder).catalog.engine.dispose()
    return folder


class Killed(Notary):
    """A notary whose process ends between the entry and its checkpoint."""

    def publish(self, head: Head) -> None:
        """End."""
        raise UnavailableError("killed")


class Honest(RuleBasedStateMachine):
    """Two processes that share a home, and a person who changes keys."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="ledger-"))
        shutil.copytree(empty(), self.home, dirs_exist_ok=True)
        self.places: list[Place] = [opened(self.home), opened(self.home)]
        self.written = 0

    @rule(who=st.integers(0, 1), day=st.integers(1, 3), verb=st.sampled_from(["validate", "inspect"]))
    def judge(self, who: int, day: int, verb: str) -> None:
        """Record a verdict, often one that is known."""
        for earlier in range(1, day):
            judged(self.places[who], earlier)
        judged(self.places[who], day, verb)
        self.written += 1

    @rule(who=st.integers(0, 1))
    def die(self, who: int) -> None:
        """Be killed after the commit and before the checkpoint."""
        self._killed(who, lambda place: judged(place, 1))
        self.written += 1

    @rule(who=st.integers(0, 1))
    def change_key(self, who: int) -> None:
        """Let a new key sign."""
        self.places[who].catalog.change_key()
        self.written += 1

    @rule(who=st.integers(0, 1))
    def die_with_a_new_key(self, who: int) -> None:
        """Be killed amid a change of keys."""
        self._killed(who, lambda place: place.catalog.change_key())
        self.written += 1

    @rule(who=st.integers(0, 1))
    def checkpoint(self, who: int) -> None:
        """Sign what is not signed."""
        self.places[who].catalog.checkpoint()
        assert witness.unsigned(self.places[who]) == []
        self.written += 1

    @rule(who=st.integers(0, 1))
    def open_again(self, who: int) -> None:
        """Start anew."""
        self.places[who].catalog.engine.dispose()
        self.places[who] = opened(self.home)

    @invariant()
    def nothing_is_named(self) -> None:
        """Walk it, as installed and as exported."""
        if not self.written:
            return
        place = self.places[0]
        assert faults(place) == []
        folder = self.home / "out"
        book.export_of(place, folder)
        trusted = verifier.public_of(folder / verifier.PUBLIC)
        assert verifier.verify_export(folder, trusted)["faults"] == []
        shutil.rmtree(folder)

    def _killed(self, who: int, work) -> None:
        catalog = self.places[who].catalog
        notary = catalog.notary
        assert notary is not None
        catalog.checkpoint()
        catalog.notary = Killed(key=notary.key, places=notary.places)
        with pytest.raises(UnavailableError):
            work(self.places[who])
        catalog.notary = notary

    def teardown(self) -> None:
        """Leave nothing."""
        for place in self.places:
            place.catalog.engine.dispose()
        shutil.rmtree(self.home)


def test_honest_histories_have_no_fault() -> None:
    quick = settings(
        max_examples=12, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Honest, settings=quick)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_honest_histories_have_no_fault() -> None:
    many = settings(
        max_examples=1000, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Honest, settings=many)
