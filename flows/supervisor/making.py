"""How a keeper of this installation is made, for the supervisor and for who serves without one."""

from counterfoil.errors import UnknownError
from counterfoil.types import Release, Rollout
from flows.place import Place
from flows.supervisor.keeper import Keeper
from flows.supervisor.services import Services
from flows.supervisor.world import World, world_of
from flows.use_cases import use_case
from flows.verbs import bento_folder


def keeper_of(place: Place, world: World | None = None) -> Keeper:
    """Return the keeper of what runs here."""
    effects = world or world_of(place.settings)
    return Keeper(
        settings=place.settings,
        world=effects,
        services=services_of(place, effects),
        release=lambda name: _release(place, name),
    )


def services_of(place: Place, world: World, first_port: int | None = None) -> Services:
    """Return the service processes here, those to be started from a port on."""
    return Services(
        world=world,
        run=place.settings.run,
        first_port=first_port or place.settings.service_port,
        bento=lambda tag: bento_folder(place, tag),
    )


def rollout_of(name: str) -> Rollout | None:
    """Return the rollout of a use case; None also where nobody knows the use case here."""
    try:
        return use_case(name).rollout
    except UnknownError:
        return None


def _release(place: Place, name: str) -> Release:
    found = place.catalog.get(name)
    assert isinstance(found, Release)
    return found
