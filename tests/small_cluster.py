"""A cluster for tests: objects, and controllers that roll Deployments out pod by pod. Its clock is a count of turns.

What is mounted, the routes of two gateways and the pointers of services, is new some turns after it was applied, or soon where
pods were nudged.
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from bentos.routes import Routes
from counterfoil.errors import UnavailableError
from flows.cluster.follower import routes_in
from flows.cluster.kubectl import Cluster, Object
from tests.mortal import Mortal

TURN_SECONDS = 2.0
START_TURNS = 4  # that a pod takes until it is ready
LAG_TURNS = 30  # until what is mounted is up to date by itself
NUDGED_TURNS = 2
GATEWAYS = ("10.0.0.1", "10.0.0.2")
IMAGE = "shop/counterfoil:7"


@dataclass
class Pod:
    """A pod of a Deployment; `like` is the template it was made by."""

    name: str
    like: Any
    born: int
    tells: str = ""  # the release that it answers as


@dataclass
class Small(Mortal):
    """The cluster. Pods of `broken` Deployments never get ready."""

    broken: set[str] = field(default_factory=set)
    turns: int = 0
    made: int = 0
    store: dict[tuple[str, str], Object] = field(default_factory=dict)
    pods: dict[str, list[Pod]] = field(default_factory=dict)
    taken: dict[str, Routes | None] = field(default_factory=lambda: dict.fromkeys(GATEWAYS))
    changed: dict[str, int] = field(default_factory=dict)
    nudged: dict[str, int] = field(default_factory=dict)
    follows: bool = True  # pods take a new pointer
    silent: set[str] = field(default_factory=set)  # gateways that do not answer
    lost: set[str] = field(default_factory=set)  # pods whose node is gone
    deaf: set[str] = field(default_factory=set)  # pods that are ready, and do not say what they answer as
    evicted: dict[str, list[Object]] = field(default_factory=dict)  # pods that only lie there, by Deployment
    refused: set[str] = field(default_factory=set)  # Deployments that the cluster does not take
    hurries: bool = True  # whether a nudge does what it is for; else it is refused
    restarts: int = 0
    least: int = 0  # pods that must answer wherever a gateway sends people

    def __post_init__(self) -> None:
        own = {"name": "releases", "image": IMAGE}
        self.apply([_deployment("releases", 1, {"spec": {"containers": [own]}})])

    def cluster(self) -> Cluster:
        """Return the effects on it."""
        return Cluster(
            objects=lambda: copy.deepcopy(list(self.store.values())),
            pods=self.told_pods,
            apply=self.mortal(self.apply),
            delete=self.mortal(self.delete),
            restart=self.mortal(self.restart),
            nudge=self.mortal(self.nudge),
            clock=lambda: self.turns * TURN_SECONDS,
        )

    def check(self) -> None:
        """Hold the invariant after each effect."""
        self.invariant()

    def apply(self, objects: Sequence[Object]) -> None:
        """Make objects as they are told."""
        if {one["metadata"]["name"] for one in objects if one["kind"] == "Deployment"} & self.refused:
            raise UnavailableError("`kubectl apply` failed: the quota is exceeded")
        for one in copy.deepcopy(list(objects)):
            key = (one["kind"], one["metadata"]["name"])
            held = self.store.get(key)
            if key[0] == "ConfigMap" and (held is None or held["data"] != one["data"]):
                self.changed[key[1]] = self.turns
                self.nudged.pop("gateway" if key[1] == "routes" else key[1].removesuffix("-release"), None)
            if one["kind"] == "Deployment":
                if (
                    held is not None and "restarted" in held["spec"]["template"]
                ):  # what apply was never told it leaves
                    one["spec"]["template"]["restarted"] = held["spec"]["template"]["restarted"]
                same = held is not None and held["spec"] == one["spec"]
                one["metadata"]["generation"] = (held["metadata"]["generation"] if held else 0) + (not same)
                one["status"] = {} if held is None else held["status"]
                self.pods.setdefault(key[1], [])
            self.store[key] = one

    def delete(self, kind: str, names: Sequence[str]) -> None:
        """Take objects away, and the pods of Deployments at once."""
        for name in names:
            [key] = [key for key in self.store if key == (key[0], name) and key[0].lower() == kind]
            del self.store[key]
            if kind == "deployment":
                del self.pods[name]

    def nudge(self, name: str, mark: str) -> None:
        """Have what a name's pods have mounted brought up to date."""
        assert mark
        if not self.hurries:
            raise UnavailableError("`kubectl annotate` failed: it may not")
        self.nudged.setdefault(name, self.turns)

    def restart(self, name: str) -> None:
        """Replace a Deployment's pods."""
        self.restarts += 1
        one = self.store["Deployment", name]
        one["spec"]["template"] = {**one["spec"]["template"], "restarted": self.turns}
        one["metadata"]["generation"] += 1

    def up_to_date(self, config: str, name: str) -> bool:
        """Say whether pods of a name have the newest content of what they have mounted."""
        nudged = self.nudged.get(name)
        late = self.turns - self.changed.get(config, 0) >= LAG_TURNS
        return late or (nudged is not None and self.turns - nudged >= NUDGED_TURNS)

    def turn(self) -> None:
        """Let controllers and gateways do what is next."""
        self.turns += 1
        for (kind, name), one in self.store.items():
            if kind == "Deployment":
                self.roll(name, one)
        for name, pods in self.pods.items():
            if self.follows and self.up_to_date(f"{name}-release", name):
                for pod in pods:
                    pod.tells = self.pointer(name)
        if self.up_to_date("routes", "gateway"):
            for gateway in self.taken.keys() - self.silent:
                self.taken[gateway] = routes_in(self.store.values())
        self.invariant()

    def roll(self, name: str, one: Object) -> None:
        """Make one pod more than wanted while there are older ones, and end an older one when enough are ready."""
        like, wanted, pods = one["spec"]["template"], one["spec"]["replicas"], self.pods[name]
        new = [pod for pod in pods if pod.like == like]
        if len(new) < wanted and len(pods) < wanted + (len(new) < len(pods)):
            self.made += 1
            pods.append(Pod(f"{name}-{self.made}", like, self.turns, self.pointer(name)))
            new.append(pods[-1])
        old = [pod for pod in pods if pod.like != like]
        if sum(map(self.ready, pods)) > wanted:
            pods.remove(next((pod for pod in [*old, *new] if self.ready(pod)), pods[0]))
        one["status"] = {
            "observedGeneration": one["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": sum(pod.like == like for pod in pods),
            "availableReplicas": sum(map(self.ready, pods)),
        }

    def pointer(self, name: str) -> str:
        """Return the release that a Deployment's pointer names."""
        held = self.store.get(("ConfigMap", f"{name}-release"))
        return "" if held is None else str(orjson.loads(held["data"]["release.json"])["release"])

    def ready(self, pod: Pod) -> bool:
        """Say whether a pod answers."""
        broken = pod.name.rpartition("-")[0] in self.broken or pod.name in self.lost
        return not broken and self.turns - pod.born >= START_TURNS

    def told_pods(self, name: str) -> list[Object]:
        """Return pods as `kubectl` tells them; what never gets ready has ended and begun again every eight turns."""
        return [
            *self.evicted.get(name, []),
            *(
                {
                    "metadata": {"name": pod.name, "uid": pod.name, "creationTimestamp": f"{pod.born:06}"},
                    "status": {
                        "phase": "Running",
                        "podIP": pod.name,
                        "conditions": [{"type": "Ready", "status": str(self.ready(pod))}],
                        "containerStatuses": [
                            _status((self.turns - pod.born) // 8 if name in self.broken else 0)
                        ],
                    },
                }
                for pod in self.pods.get(name, [])
            ),
        ]

    def fetch(self, url: str) -> bytes | None:
        """Answer as the gateways do."""
        address = url.split("/")[2].split(":")[0]
        if url.endswith("/readyz"):
            [pod] = [one for pods in self.pods.values() for one in pods if one.name == address]
            told = self.ready(pod) and pod.name not in self.deaf
            return orjson.dumps({"release": pod.tells}) if told else None
        routes = self.taken[address]
        if address in self.silent or not url.endswith("/-/routes"):
            return None
        return b"{}" if routes is None else orjson.dumps(asdict(routes))

    def invariant(self) -> None:
        """Wherever a gateway sends people, enough pods answer, and routes lead to Services that are there."""
        for routes in (*self.taken.values(), routes_in(self.store.values())):
            for route in () if routes is None else (routes.champion, routes.challenger):
                if route is not None:
                    name = route.url.split("/")[2].split(":")[0]
                    least = self.least if route.stage == "champion" else min(1, self.least)
                    assert ("Service", name) in self.store, f"{name} is routed to, and gone"
                    assert sum(map(self.ready, self.pods[name])) >= least, f"too few pods answer at {name}"


def _deployment(name: str, replicas: int, template: Any) -> Object:
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "counterfoil"}},
        "spec": {"replicas": replicas, "template": template},
    }


def _status(restarts: int) -> Object:
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}} if restarts else {}
    return {"name": "service", "restartCount": restarts, "lastState": ended, "state": {"running": {}}}
