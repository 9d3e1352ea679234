"""The follower's process: two looks a second at the release table, and one at the cluster when there is something to do."""

import argparse
import logging
import math
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial

import httpx

from bentos import inner
from counterfoil.errors import ConfigError, CounterfoilError
from counterfoil.types import UseCase
from flows.cluster.follower import Follower
from flows.cluster.gateways import Gateways
from flows.cluster.kubectl import cluster_of
from flows.cluster.pods import Pods
from flows.machine import mark_cluster
from flows.manifests import COLLECTOR, Scale
from flows.place import Place, open_place
from flows.supervisor.judging import Judging, Totals, totals_of
from flows.supervisor.making import case_of
from flows.supervisor.process import beside, table_of, until_ended
from flows.supervisor.wanted import Wanted
from flows.supervisor.world import fetch, warm

log = logging.getLogger(__name__)
EVERY_SECONDS = 0.5
LOOK_SECONDS = 2.0  # between two looks at the cluster while something is under way
REST_SECONDS = 10.0  # the same while nothing is


def main(arguments: Sequence[str] | None = None) -> None:
    """Follow one use case; exit with the error's code when that cannot begin."""
    options = parser().parse_args(arguments)
    over = until_ended()
    logging.getLogger("httpx").setLevel(logging.ERROR)
    try:
        if options.replicas < 1:
            raise ConfigError(f"--replicas is {options.replicas}; a champion has at least one pod")
        place = open_place()
        token = inner.read_token(place.settings.run)
        client = httpx.Client(headers={inner.TOKEN: token}, trust_env=False)
        cluster, asked = cluster_of(), partial(fetch, client)
        follower = Follower(
            run=place.settings.run,
            cluster=cluster,
            gateways=Gateways(host=options.gateways, port=options.gateway_port, fetch=asked),
            pods=Pods(cluster=cluster, fetch=asked, warm=partial(warm, client)),
            scale=lambda image: Scale(
                image=image, replicas=options.replicas, cpu=options.cpu, memory=options.memory
            ),
            collector=options.collector,
        )
        watch(
            place, follower, options.use_case, lambda: totals_of(asked(f"{options.collector}/-/clicks")), over
        )
    except CounterfoilError as fault:
        sys.stderr.write(f"{fault}\n")
        sys.exit(fault.exit_code)


def parser() -> argparse.ArgumentParser:
    """Return what reads its arguments."""
    told = argparse.ArgumentParser(prog="flows.cluster", description=__doc__)
    told.add_argument("--use-case", default="recommendation")
    told.add_argument("--replicas", type=int, default=2, help="pods of the champion")
    told.add_argument("--cpu", default="1", help="that each pod asks for")
    told.add_argument("--memory", default="2Gi", help="that each pod asks for, and may have")
    told.add_argument("--gateways", default="gateways", help="a name that has every gateway's address")
    told.add_argument("--gateway-port", type=int, default=3000)
    told.add_argument("--collector", default=COLLECTOR, help="where events go")
    return told


def watch(
    place: Place,
    follower: Follower,
    use_case: str,
    clicks: Callable[[], Totals],
    over: threading.Event,
    case: UseCase | None = None,
) -> None:
    """Make passes until it is over; judge, tell webhooks and sweep beside that, as the supervisor of one machine does."""
    case = case or case_of(use_case)
    judging = None
    if case is not None:
        judging = Judging(
            place=place,
            case=case,
            stats=follower.gateways.stats,
            clicks=clicks,
            trouble=follower.failed,
            answers=follower.answers,
        )
    beside(place, judging, over)
    rollout = None if case is None else case.rollout
    known: Wanted | None = None
    looked = -math.inf
    while not over.is_set():
        before, known = known, table_of(place, use_case, rollout, known)
        patience = REST_SECONDS if follower.settled else LOOK_SECONDS
        if known != before or follower.cluster.clock() - looked >= patience:
            mark_cluster(place, use_case)
            if known is not None:
                look(follower, known)
            looked = follower.cluster.clock()
        over.wait(EVERY_SECONDS)


def look(follower: Follower, known: Wanted) -> None:
    """Make one pass over the cluster; whatever fails is said, and tried again."""
    try:
        follower.follow(known)
    except (CounterfoilError, OSError) as fault:
        log.warning("a pass was cut off: %s", fault)


if __name__ == "__main__":
    main()
