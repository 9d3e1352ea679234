"""One pass of the follower: services as the release table wants them, routes to those that are rolled out, an end of the rest.

Each pass looks at the cluster anew and does what is next, so that one that was cut off anywhere is finished by the next.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bentos.routes import FILE, Routes, held, parse, write
from counterfoil.canonical import sha256
from counterfoil.errors import CounterfoilError, UnavailableError
from counterfoil.files import write_durably
from counterfoil.types import Release
from flows.cluster.gateways import Gateways
from flows.cluster.kubectl import Cluster, Object, listed
from flows.cluster.pods import Pods, available, nudge
from flows.manifests import COMPONENT, Scale, config_of, rendered, url_of
from flows.supervisor.keeper import TROUBLE, routes_of, without_gone
from flows.supervisor.services import Trouble, name_of
from flows.supervisor.wanted import Wanted

log = logging.getLogger(__name__)
OWN = "releases"  # the follower's Deployment, and the container in it
GATEWAYS = "gateway"  # the name of their pods
AGAIN_SECONDS = 60.0  # after which objects are applied once more, whoever changed them
DRAIN_SECONDS = 30.0  # after every gateway has left a service, until it is taken away: its requests end
UNASKED_SECONDS = (
    180.0  # the same where gateways do not say what they have taken: mounts are up to date long before
)
BY = "app.kubernetes.io/name"


@dataclass(kw_only=True)
class Follower:
    """Keeps a cluster equal to what is wanted. `scale` gives how much of it each bento takes, for an image."""

    run: Path
    cluster: Cluster
    gateways: Gateways
    pods: Pods
    scale: Callable[[str], Scale]
    collector: str
    applied: bytes = b""
    applied_at: float = 0.0
    trouble: dict[str, Trouble] = field(default_factory=dict)  # by release, of those that are not ready
    unneeded: dict[tuple[str, str], float] = field(default_factory=dict)  # since when, by kind and name
    left: dict[tuple[str, str], float] = field(
        default_factory=dict
    )  # since when every gateway has left it, too
    said: dict[str, str] | None = None
    settled: bool = False  # nothing is under way

    def follow(self, wanted: Wanted) -> Routes | None:
        """Make one pass; returns the routes that the cluster has after it. UnavailableError when it cannot be asked."""
        self.settled = False
        self.pods.keep_to(wanted.releases)
        seen = self.cluster.objects()
        before = routes_in(seen)
        scale = self.scale(image_of(seen))
        objects = rendered(wanted, scale, "services", busy=self._busy(before))
        seen = self._apply(wanted, objects, seen)
        ready = {
            one.id
            for one in wanted.releases
            if self.pods.ready(one, _deployment(seen, one), back=wanted.back and one is wanted.champion)
        }
        after = self._routes(wanted, ready, before, seen)
        if after is not None and after != before:
            log.warning("routes of epoch %d: %s", after.epoch, after.champion.release)
            self.cluster.apply([config_of(after)])
        self._look_at([one for one in wanted.releases if one.id not in ready], seen)
        taken = after is not None and self._taken(after)
        waits = self._take_away(objects, seen, after, ready, wanted, taken)
        self.settled = taken and not waits and len(ready) == len(wanted.releases)
        return after

    def failed(self, release: Release) -> Trouble | None:
        """Return what keeps a release from being ready, None when nothing is known to."""
        return self.trouble.get(release.id)

    def answers(self) -> str | None:
        """Return the release that answers as champion, by what every gateway has taken last."""
        taken = held(self.run / FILE)
        return None if taken is None else taken.champion.release

    def _busy(self, before: Routes | None) -> frozenset[str]:
        """Return the bentos that answer as champion still, and so may not get fewer pods."""
        routes = (before, held(self.run / FILE))
        return frozenset(one.champion.bento for one in routes if one is not None)

    def _apply(self, wanted: Wanted, objects: Sequence[Object], seen: list[Object]) -> list[Object]:
        """Apply what is wanted where that is new, not there, or long ago; return what the cluster has then.

        Release by release, the champion first: where the cluster refuses a challenger's objects, nobody else waits for it.
        """
        told, now = listed(objects), self.cluster.clock()
        there = {_key(one) for one in seen}
        if (
            told == self.applied
            and now - self.applied_at < AGAIN_SECONDS
            and there >= {_key(one) for one in objects}
        ):
            return seen
        refused = self.pods.refused
        for release in wanted.releases:
            name = name_of(release.tag)
            try:
                self.cluster.apply([one for one in objects if _labels(one).get(BY) == name])
                refused.pop(name, None)
            except UnavailableError as fault:
                if release is wanted.champion:
                    raise
                log.warning("%s", fault)
                refused[name] = Trouble(times=refused.get(name, Trouble()).times + 1, said=str(fault))
        self.applied, self.applied_at = (b"" if refused else told), now
        return self.cluster.objects()

    def _look_at(self, late: Sequence[Release], seen: Sequence[Object]) -> None:
        """Find out what keeps releases from being ready, and leave it for whoever asks."""
        found = {one.id: self.pods.trouble(one, _deployment(seen, one)) for one in late}
        self.trouble = {name: one for name, one in found.items() if one is not None}
        said = {name: one.said for name, one in self.trouble.items()}
        if said != self.said:
            write_durably(self.run / TROUBLE, orjson.dumps(said))
            self.said = said

    def _routes(
        self, wanted: Wanted, ready: set[str], before: Routes | None, seen: Sequence[Object]
    ) -> Routes | None:
        """Return the routes as they are to be: to nobody who is not ready, and away from nobody before the next one is.

        A challenger that comes to another stage answers in the one before, while it has pods that do.
        """
        champion, challenger = wanted.champion, wanted.challenger
        if champion.id not in ready:
            return None if before is None else without_gone(before, {one.tag for one in wanted.releases})
        goes_on = (
            before is not None
            and challenger is not None
            and challenger.id not in ready
            and available(_deployment(seen, challenger)) > 0
            and before.champion.release == champion.id
            and before.challenger is not None
            and before.challenger.bento == challenger.tag
        )
        urls = {one.id: url_of(one) for one in wanted.releases if one.id in ready}
        return before if goes_on else routes_of(wanted, urls, self.collector)

    def _taken(self, routes: Routes) -> bool:
        """Say whether every gateway has taken the routes, and leave them for whoever asks; where not, hurry them."""
        if self.gateways.taken(routes):
            if held(self.run / FILE) != routes:
                write(routes, self.run / FILE)
            return True
        nudge(self.cluster, GATEWAYS, f"{routes.epoch}-{sha256(repr(routes))[:8]}")
        return False

    def _take_away(
        self,
        objects: Sequence[Object],
        seen: Sequence[Object],
        routes: Routes | None,
        ready: set[str],
        wanted: Wanted,
        taken: bool,
    ) -> bool:
        """Delete what nobody needs any more; returns whether something is still to go.

        While a bento's new pods come up, or routes lead to it, all that is its own stays.
        """
        if routes is None:
            return True
        keep = {_key(one) for one in objects}
        routed = {one.bento for one in (routes.champion, routes.challenger) if one is not None}
        late = {one.tag for one in wanted.releases if one.id not in ready}
        kept = {name_of(tag) for tag in late | (routed - {one.tag for one in wanted.releases})}
        rest = {
            _key(one)
            for one in seen
            if _labels(one).get(COMPONENT[0]) == COMPONENT[1]
            and _key(one) not in keep
            and _labels(one).get(BY) not in kept
        }
        now = self.cluster.clock()
        self.unneeded = {key: self.unneeded.get(key, now) for key in rest}
        self.left = {key: self.left.get(key, now) for key in rest} if taken else {}
        gone = sorted(
            key
            for key in rest
            if now - self.left.get(key, now) >= DRAIN_SECONDS or now - self.unneeded[key] >= UNASKED_SECONDS
        )
        for kind in sorted({kind for kind, _ in gone}):
            names = [name for one, name in gone if one == kind]
            log.warning("delete %s %s: nobody needs it", kind, ", ".join(names))
            self.cluster.delete(kind.lower(), names)
        for key in gone:
            del self.unneeded[key]
        return bool(self.unneeded)


def routes_in(objects: Iterable[Object]) -> Routes | None:
    """Return the routes that a cluster has, None without any that can be read."""
    found = [one for one in objects if _key(one) == ("ConfigMap", "routes")]
    try:
        return parse(found[0]["data"][FILE].encode(), "the ConfigMap routes") if found else None
    except (CounterfoilError, KeyError) as fault:
        log.warning("the routes of the cluster are written anew: %s", fault)
        return None


def image_of(objects: Iterable[Object]) -> str:
    """Return the image of the follower's own Deployment, however it was set: that of all pods. Empty where that is not there."""
    for one in objects:
        if _key(one) == ("Deployment", OWN):
            for container in one["spec"]["template"]["spec"]["containers"]:
                if container["name"] == OWN:
                    return str(container["image"])
    return ""


def _deployment(objects: Iterable[Object], release: Release) -> Object | None:
    return next((one for one in objects if _key(one) == ("Deployment", name_of(release.tag))), None)


def _key(one: Object) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


def _labels(one: Object) -> Mapping[str, str]:
    labels: Mapping[str, str] = one["metadata"].get("labels", {})
    return labels
