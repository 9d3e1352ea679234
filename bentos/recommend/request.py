"""What may be asked: the bodies of the routes, checked at the border. Lengths are those of the event contract."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from bentos.seam import FieldFault
from counterfoil.contracts import EVENT, ITEM
from counterfoil.contracts.shop import FIRST_TIME, LAST_TIME

MAX_ITEMS = 100
MAX_EXCLUDED = 10_000
MAX_CATEGORIES = 100
MAX_CART = 100
MAX_FAULTS = 20

Route = Literal["recommend", "next", "similar", "cart"]


def _text(contract: Any, name: str) -> Any:
    return Annotated[str, StringConstraints(min_length=1, max_length=contract.field(name).max_length)]


Price = Annotated[float, Field(ge=0, le=ITEM.field("price").maximum, allow_inf_nan=False)]


class Strict(BaseModel):
    """Unknown fields are refused, values are not guessed from other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def __deepcopy__(self, memo: object = None) -> Self:
        """Return this one: nothing changes it, and each request would copy the defaults that it does not name."""
        return self


class Context(Strict):
    """When and where the answer will be shown. Without a time it is now."""

    time: Annotated[AwareDatetime, Field(ge=FIRST_TIME, le=LAST_TIME)] | None = None
    session: _text(EVENT, "session") | None = None  # type: ignore[valid-type]
    channel: _text(EVENT, "channel") | None = None  # type: ignore[valid-type]


class Filters(Strict):
    """What may be in the answer."""

    in_stock: bool = False
    categories: Annotated[list[_text(ITEM, "category")], Field(max_length=MAX_CATEGORIES)] = []  # type: ignore[valid-type]
    price_min: Price | None = None
    price_max: Price | None = None
    exclude_bought: bool = False
    exclude: Annotated[list[_text(ITEM, "id")], Field(max_length=MAX_EXCLUDED)] = []  # type: ignore[valid-type]


class Caps(Strict):
    """How many items of one shelf (whole category), brand, or seller may be in the answer. Without: as the rules say."""

    category: Annotated[int, Field(ge=1, le=MAX_ITEMS)] | None = None
    brand: Annotated[int, Field(ge=1, le=MAX_ITEMS)] | None = None
    seller: Annotated[int, Field(ge=1, le=MAX_ITEMS)] | None = None


class Request(Strict):
    """What every route takes: `n` items, in a context, within filters, as different from each other as `diversity` says.

    `profile` false asks for an answer that reads nothing by person or session.
    """

    context: Context = Context()
    n: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = 10
    filters: Filters = Filters()
    diversity: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    caps: Caps = Caps()
    profile: bool = True


class RecommendRequest(Request):
    """Items for a person, or for nobody in particular."""

    person: _text(EVENT, "person") | None = None  # type: ignore[valid-type]


class NextRequest(Request):
    """What comes next in the session that `context.session` names; nobody is known."""


class SimilarRequest(RecommendRequest):
    """Items like one item."""

    item: _text(ITEM, "id")  # type: ignore[valid-type]


class CartRequest(RecommendRequest):
    """Items that go with those in a cart."""

    items: Annotated[list[_text(ITEM, "id")], Field(min_length=1, max_length=MAX_CART)]  # type: ignore[valid-type]


BODIES: dict[Route, type[Request]] = {
    "recommend": RecommendRequest,
    "next": NextRequest,
    "similar": SimilarRequest,
    "cart": CartRequest,
}


def parse(body: bytes, route: Route = "recommend") -> Any:
    """Read the body of a route. FieldFault names every field that is wrong and says why."""
    try:
        request = BODIES[route].model_validate_json(body)
    except ValidationError as fault:
        errors = fault.errors(include_url=False, include_input=False, include_context=False)
        raise FieldFault([_sentence(error) for error in errors[:MAX_FAULTS]]) from None
    low, high = request.filters.price_min, request.filters.price_max
    if low is not None and high is not None and low > high:
        raise FieldFault(
            [{"field": "filters.price_min", "reason": f"{low:g} is above filters.price_max, {high:g}"}]
        )
    return request


def _sentence(error: Any) -> dict[str, str]:
    field = ".".join(map(str, error["loc"])) or "body"
    reason = "there is no such field" if error["type"] == "extra_forbidden" else error["msg"]
    return {"field": field, "reason": reason}
