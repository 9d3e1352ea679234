"""How a keeper of this installation is made, for the supervisor and for who serves without one."""

from bentos.gateway.stats import Stats
from counterfoil.errors import UnknownError
from counterfoil.types import UseCase
from flows.place import Place
from flows.supervisor.judging import Judging, Totals, read_stats, totals_of
from flows.supervisor.keeper import Keeper
from flows.supervisor.services import Services
from flows.supervisor.wanted import release_of
from flows.supervisor.world import COLLECTOR, GATEWAY, World, world_of
from flows.use_cases import use_case
from flows.verbs import bento_folder


def keeper_of(place: Place, world: World | None = None) -> Keeper:
    """Return the keeper of what runs here."""
    effects = world or world_of(place.settings)
    return Keeper(
        settings=place.settings,
        world=effects,
        services=services_of(place, effects),
        release=lambda name: release_of(place, name),
    )


def services_of(place: Place, world: World, first_port: int | None = None) -> Services:
    """Return the service processes here, those to be started from a port on."""
    return Services(
        world=world,
        run=place.settings.run,
        first_port=first_port or place.settings.service_port,
        bento=lambda tag: bento_folder(place, tag),
    )


def case_of(name: str) -> UseCase | None:
    """Return a use case, None where nobody knows it here."""
    try:
        return use_case(name)
    except UnknownError:
        return None


def judging_of(place: Place, keeper: Keeper, case: UseCase) -> Judging:
    """Return the judge of what runs here, who asks gateway and collector."""
    world = keeper.world

    def told(name: str, path: str) -> bytes | None:
        process = world.running().get(name)
        return None if process is None else world.fetch(process.url + path)

    def stats() -> Stats | None:
        return read_stats(told(GATEWAY, "/-/stats"))

    def clicks() -> Totals:
        return totals_of(told(COLLECTOR, "/-/clicks"))

    def answers() -> str | None:
        routes = keeper.routes()
        return None if routes is None else routes.champion.release

    return Judging(
        place=place, case=case, stats=stats, clicks=clicks, trouble=keeper.services.failed, answers=answers
    )
