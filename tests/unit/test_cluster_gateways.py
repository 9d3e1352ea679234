"""All gateways of a cluster as one: asked, summed, and waited for."""

from bentos.gateway import stats as gateway_stats
from bentos.gateway.stats import Counts, Second, Stats, Told
from flows.cluster.gateways import REMEMBERED, Gateways, addresses, merged
from flows.supervisor.keeper import routes_of
from tests.unit.test_supervisor import BEFORE, FIRST


def test_nothing_is_summed_up_before_every_gateway_was_heard() -> None:
    """What one that was missed had counted would seem to have happened all at once."""
    told: dict[str, bytes] = {"a": gateway_stats.write(stats_of(1.0, 10.0, 50, 0))}
    now = [0.0]
    gateways = Gateways(
        host="g",
        port=1,
        fetch=lambda url: told.get(url.split("/")[2].split(":")[0]),
        resolve=lambda host, port: ["a", "b"],
        clock=lambda: now[0],
    )
    assert gateways.stats() is None
    told["b"] = gateway_stats.write(stats_of(2.0, 10.0, 100_000, 5000))
    whole = gateways.stats()
    held = None if whole is None else whole.of(FIRST.id)
    assert held is not None and held.live.requests == 100_050
    del told["b"]
    assert gateways.stats() is not None, "it was heard once"
    gateways.heard.clear()
    assert gateways.stats() is None
    now[0] = 31.0
    assert gateways.stats() is not None, "one that never says anything keeps nobody from judging"


def test_every_gateway_is_asked_and_what_one_counted_that_has_ended_goes_on_to_count() -> None:
    told = {"a": stats_of(1.0, 10.0, 100, 3), "b": stats_of(2.0, 20.0, 50, 0)}
    asked: list[str] = []

    def fetch(url: str) -> bytes | None:
        asked.append(url)
        held = told.get(url.split("/")[2].split(":")[0])
        return None if held is None else gateway_stats.write(held)

    gateways = Gateways(host="gateways", port=3000, fetch=fetch, resolve=lambda host, port: ["a", "b", "c"])
    gateways.awaited = {"c": -100.0}  # it never said anything
    whole = gateways.stats()
    assert whole is not None and sorted(asked) == [f"http://{one}:3000/-/stats" for one in "abc"]
    release = whole.of(FIRST.id)
    assert release is not None and (release.live.requests, release.live.errors, release.since) == (
        150,
        3,
        10.0,
    )
    assert release.live.latency == {30: 150} and release.since_by_lot() == {
        "x-0": 11.0,
        "x-2": 10.0,
        "y-0": 20.0,
    }
    assert [(one.at, one.live.requests) for one in release.seconds] == [(999, 150)]
    assert release.window(1000.0)[0].requests == 150
    told["a"] = stats_of(900.0, 901.0, 7, 1)  # it began anew
    del told["b"]
    whole = gateways.stats()
    again = None if whole is None else whole.of(FIRST.id)
    assert again is not None and (again.live.requests, again.live.errors) == (157, 4)
    told.clear()
    assert gateways.stats() is None


def test_what_the_sum_says_is_no_matter_of_how_many_gateways_there_were() -> None:
    alone = merged([stats_of(1.0, 10.0, 100, 3)])
    assert alone == stats_of(1.0, 10.0, 100, 3)
    gateways = Gateways(
        host="g",
        port=1,
        fetch=lambda url: gateway_stats.write(stats_of(next(begun), 1.0, 1, 0)),
        resolve=lambda host, port: ["a"],
    )
    begun = iter(float(number) for number in range(2 * REMEMBERED))
    for _ in range(2 * REMEMBERED):
        gateways.stats()
    assert len(gateways.heard) == REMEMBERED
    begun = iter([1e6])
    whole = gateways.stats()
    held = None if whole is None else whole.of(FIRST.id)
    assert held is not None and held.live.requests == 2 * REMEMBERED + 1, (
        "a sum that falls would say that nothing failed"
    )


def stats_of(began: float, since: float, requests: int, errors: int) -> Stats:
    def live() -> Counts:
        return Counts(requests=requests, errors=errors, latency={30: requests})

    lots = {"x": [since + 1, 0.0, since]} if since < 20 else {"x": [since + 1], "y": [since]}
    told = Told(
        release=FIRST.id, bento=FIRST.tag, epoch=1, stage="champion", since=since, live=live(),
        seconds=[Second(at=999, live=live())], lots=lots,
    )  # fmt: skip
    return Stats(now=1000.0, began=began, epoch=1, use_case="shop", shed=1, releases=[told])


def test_a_name_that_nobody_knows_has_no_gateways() -> None:
    gateways = Gateways(host="nobody.invalid", port=1, fetch=lambda url: b"{}")
    routes = routes_of(BEFORE, {FIRST.id: "http://x:1"}, None)
    assert gateways.stats() is None and not gateways.taken(routes)
    assert addresses("localhost", 1) and all(one in ("127.0.0.1", "::1") for one in addresses("localhost", 1))
    deaf = Gateways(host="g", port=1, fetch=lambda url: b"[", resolve=lambda host, port: ["a"])
    assert deaf.stats() is None and not deaf.taken(routes)
