"""Asking the judge every second, and carrying its rulings out: counts of gateway and collector in, releases out.

A thread of its own, so that a service that hangs keeps no challenger in front of people. It writes to the catalog alone; the
next pass of the keeper makes what runs follow.
"""

import functools
import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from bentos.gateway import stats as gateway_stats
from bentos.gateway.stats import BOUNDS_MS, Counts, Stats, Told
from counterfoil.errors import ConflictError, ContractError, CounterfoilError
from counterfoil.files import write_durably
from counterfoil.types import Release, Rollout, UseCase
from flows import earlier, verbs
from flows import rollout as rollouts
from flows.judge import LATELY_SECONDS, Arm, Counted, Ruling, judge, watch
from flows.place import Place
from flows.supervisor.services import Trouble

log = logging.getLogger(__name__)
EVERY_SECONDS = 1.0
MINUTE = 60
MOST_STARTS = 4  # in a row without coming up; at the next one it is given up, for only then the last is known to have failed
RULING = "ruling.json"
FORMER = "former.json"  # what was counted of the champion before the one that is watched, for a gateway that restarts forgets it
BY_HAND = Rollout(patience_seconds=math.inf)
UNCOUNTED = Ruling(course="go on", sentences=("Nothing has been counted of the new champion yet.",))
LEFT = "Its use case has no rollout, so a person says how it goes on."
Totals = Mapping[str, tuple[int, int]]  # shown, clicked by lot of receipts


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What the champion had been counted for when a challenger's stage was seen first."""

    live: Counts


@dataclass(kw_only=True)
class Judging:
    """Judges the challenger of one use case, or its new champion. `stats` and `clicks` ask, and give None when nobody says.

    `trouble` says what keeps a release's service from coming up; `answers` names the release that answers as champion.
    """

    place: Place
    case: UseCase
    stats: Callable[[], Stats | None]
    clicks: Callable[[], Totals]
    trouble: Callable[[Release], Trouble | None]
    answers: Callable[[], str | None]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    baselines: dict[str, Baseline] = field(default_factory=dict)
    said: bytes = b""
    held: str | None = None

    def run(self, over: threading.Event) -> None:
        """Judge again and again until it is over; whatever fails is said, and tried again."""
        while not over.wait(EVERY_SECONDS):
            try:
                self.once()
            except CounterfoilError as fault:
                log.warning("the judge was cut off: %s", fault)
            except Exception:
                log.exception("the judge was cut off")

    def once(self) -> Ruling | None:
        """Judge once, and carry it out. None where nothing is to be judged.

        Where the use case has no rollout, a challenger that a person released is guarded, and goes further by a person alone.
        """
        rollout, name = self.case.rollout, self.case.name
        champion = self.place.catalog.champion(name)
        if champion is None:
            return None
        challenger = self.place.catalog.challenger(name)
        ruling = None if rollout is None else self._champion(rollout, champion)
        if challenger is not None and (ruling is None or ruling.course != "take back"):
            ruling = self._challenger(rollout or BY_HAND, champion, challenger)
            if rollout is None and ruling.course == "advance":
                ruling = Ruling(course="go on", sentences=(*ruling.sentences, LEFT))
            self._tell(challenger, ruling)
            self._carry(challenger, ruling)
            return ruling
        if ruling is not None and challenger is None:
            self._tell(champion, ruling)
        return ruling

    def _challenger(self, rollout: Rollout, champion: Release, challenger: Release) -> Ruling:
        waited = (self.clock() - challenger.valid_from).total_seconds()
        away = _away(self.trouble(challenger))
        if away:
            return Ruling(course="take back", sentences=(away,))
        stats = self.stats()
        told, reference = (None if stats is None else stats.of(one.id) for one in (challenger, champion))
        if stats is None or told is None or reference is None:
            counted, seconds = Counted(challenger=Arm(), champion=Arm()), 0.0
        else:
            counted = self._counted(stats, told, reference)
            seconds = max(0.0, stats.now - told.since)
        return judge(rollout, challenger.stage, seconds, counted, BOUNDS_MS, waited)

    def _counted(self, stats: Stats, told: Told, champion: Told) -> Counted:
        """Return both arms since the stage began: of the champion what it was counted for since then.

        Where both tell what answers waited in line, latency is without that.

        A click comes late. So the champion's count only on lots of receipts that began after the stage did: else clicks on
        what it showed before would count for it, and against whoever is just as good.
        """
        arm = functools.partial(_arm, worked=_tells(told) and _tells(champion))
        totals = self.clicks()
        lots, usual = told.since_by_lot(), champion.since_by_lot()
        ours = lots.keys() - usual.keys()
        theirs = {lot for lot, began in usual.items() if began > told.since} - lots.keys()
        before = self.baselines.get(told.release)
        if before is None or before.live.requests > champion.live.requests:
            self.baselines = {told.release: Baseline(live=_copy(champion.live))}
            before = self.baselines[told.release]
        since = _minus(champion.live, before.live)
        return Counted(
            challenger=arm(told.live, told.copies, *_clicked(totals, ours)),
            champion=arm(since, Counts(), *_clicked(totals, theirs)),
            challenger_lately=arm(*told.window(stats.now, LATELY_SECONDS)),
            champion_lately=arm(champion.window(stats.now, LATELY_SECONDS)[0], Counts()),
            champion_minute=arm(champion.window(stats.now, MINUTE)[0], Counts()),
        )

    def _champion(self, rollout: Rollout, champion: Release) -> Ruling | None:
        """Hold a new champion against the one before it, and go back to that when it is worse, or never comes up."""
        age = (self.clock() - champion.valid_from).total_seconds()
        before = self._before(champion)
        if before is None or age > rollout.watch_seconds:
            return None
        away = _away(self.trouble(champion)) if self.answers() != champion.id else ""
        ruling = (
            Ruling(course="take back", sentences=(away,)) if away else self._watch(rollout, champion, before)
        )
        if ruling.course == "take back":
            self._tell(champion, ruling)
            log.warning("back from %s to %s: %s", champion.id, before.id, " ".join(ruling.sentences))
            _unless_late(
                lambda: rollouts.roll_back(self.place, self.case, champion, before, ruling.sentences)
            )
        return ruling

    def _watch(self, rollout: Rollout, champion: Release, before: Release) -> Ruling:
        stats = self.stats()
        if stats is None:
            return UNCOUNTED
        usual, told = _arm(self._usual(stats, before), Counts()), stats.of(champion.id)
        if told is None:
            return UNCOUNTED
        counted = Counted(
            challenger=_arm(told.live, Counts()),
            champion=usual,
            challenger_lately=_arm(told.window(stats.now, LATELY_SECONDS)[0], Counts()),
            champion_minute=usual,
        )
        return watch(rollout, counted, BOUNDS_MS)

    def _usual(self, stats: Stats, before: Release) -> Counts:
        """Return what was counted of the champion before: now, or when the new one was seen first, whichever is more."""
        path = self.place.settings.run / FORMER
        told, kept = stats.of(before.id), _former(path, before.id)
        if kept is None and told is not None and told.live.requests:
            told = replace(told, seconds=[], lots={})
            write_durably(path, gateway_stats.write(replace(stats, releases=[told])))
        every = [one.live for one in (told, kept) if one is not None]
        return max(every, key=lambda live: live.requests, default=Counts())

    def _before(self, champion: Release) -> Release | None:
        """Return the champion before this one, if it may serve again: another bento that is here, and not in quarantine."""
        before = next(earlier.champions(self.place, self.case.name, champion.epoch), None)
        if before is None or before.bento == champion.bento:
            return None
        here = verbs.packaged(self.place, earlier.bento_of(self.place, before))
        return before if here and earlier.may_serve(self.place, before) else None

    def _carry(self, challenger: Release, ruling: Ruling) -> None:
        if ruling.course == "take back":
            log.warning("%s is taken back: %s", challenger.id, " ".join(ruling.sentences))
            _unless_late(lambda: rollouts.take_back(self.place, self.case, challenger, ruling.sentences))
        elif ruling.course == "advance":
            made = _unless_late(lambda: rollouts.advance(self.place, self.case, challenger, ruling.sentences))
            if made is not None:
                log.warning("%s goes on: %s", challenger.id, " ".join(ruling.sentences))
            elif self.held != challenger.id:
                log.warning("%s could go on, and was not released further: is a word missing?", challenger.id)
                self.held = challenger.id

    def _tell(self, release: Release, ruling: Ruling) -> None:
        """Leave for whoever asks what the judge said last, and of whom."""
        told = {
            "release": release.id,
            "stage": release.stage,
            "share": release.share,
            "course": ruling.course,
            "sentences": ruling.sentences,
        }
        said = orjson.dumps(told)
        if said != self.said:
            write_durably(self.place.settings.run / RULING, said)
            self.said = said


def last_ruling(run: Path) -> dict[str, Any] | None:
    """Return what the judge said last: release, stage, share, course, sentences; None while it has said nothing."""
    try:
        told: dict[str, Any] = orjson.loads((run / RULING).read_bytes())
    except (OSError, ValueError):
        return None
    return told


def _former(path: Path, release: str) -> Told | None:
    """Return what is kept of a release that was champion, None where nothing is, or by another version."""
    try:
        return gateway_stats.read(path.read_bytes()).of(release)
    except (OSError, ContractError):
        return None


def read_stats(told: bytes | None) -> Stats | None:
    """Return the gateway's stats, None when nobody said any."""
    return None if told is None else gateway_stats.read(told)


def totals_of(told: bytes | None) -> Totals:
    """Return impressions and clicks by lot as the collector tells them, since it began."""
    held = {} if told is None else orjson.loads(told).get("lots", {})
    return {lot: (shown, clicked) for lot, (shown, clicked) in held.items()}


def _unless_late(carried: Callable[[], Release | None]) -> Release | None:
    """Carry a ruling out. One that comes late, for somebody else has changed who answers, is left."""
    try:
        return carried()
    except ConflictError as late:
        log.warning("a ruling came late: %s", late)
        return None


def _away(trouble: Trouble | None) -> str:
    if trouble is None or trouble.times <= MOST_STARTS:
        return ""
    return f"It did not come up in {trouble.times - 1} starts: {trouble.said}."


def _tells(told: Told) -> bool:
    """Say whether a release tells what its answers wait in line: older ones do not, nor does one that answers by a thread."""
    return sum(2 * one.told - (one.requests - one.refused) for one in (told.live, told.copies)) >= 0


def _arm(live: Counts, copies: Counts, shown: int = 0, clicks: int = 0, *, worked: bool = False) -> Arm:
    whole = _copy(live)
    whole.add(copies)
    return Arm(
        requests=whole.requests - whole.refused,
        live=live.requests - live.refused,
        failed=whole.errors,
        empty=whole.empty,
        latency=whole.worked if worked else whole.latency,
        shown=shown,
        clicks=clicks,
    )


def _copy(counts: Counts) -> Counts:
    return replace(counts, latency=dict(counts.latency), worked=dict(counts.worked))


def _minus(now: Counts, before: Counts) -> Counts:
    return replace(
        now,
        requests=now.requests - before.requests,
        errors=now.errors - before.errors,
        refused=now.refused - before.refused,
        empty=now.empty - before.empty,
        latency=_more(now.latency, before.latency),
        worked=_more(now.worked, before.worked),
    )


def _more(now: Mapping[int, int], before: Mapping[int, int]) -> dict[int, int]:
    more = {place: count - before.get(place, 0) for place, count in now.items()}
    return {place: count for place, count in more.items() if count}


def _clicked(totals: Totals, lots: set[str]) -> tuple[int, int]:
    found = [totals[lot] for lot in lots if lot in totals]
    return sum(shown for shown, _ in found), sum(clicks for _, clicks in found)
