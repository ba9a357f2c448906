"""What an installation offers follows from its settings and its registrations; what is broken is said at once."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions.exceptions import NoStore
from agent_sessions.store import CapabilityCall, Deny, Outcome, Param, registry
from agent_sessions.store.offer import Match, offer
from tests.store.calling import named
from tests.store.shop import Shop

BUILT_IN = [
    "search", "browse", "detail", "cart.view", "cart.add", "cart.update", "cart.remove", "checkout", "contact",
]  # fmt: skip


def handler(call: CapabilityCall) -> Outcome:
    return Outcome({"mine": True})


def names() -> list[str]:
    own = {one.name for one in registry.all()}
    return [one.name for one in offer().capabilities if one.name in BUILT_IN or one.name not in own]


class Small(Shop):
    features = frozenset()


class Reader:
    """A store that says what it can and has nothing else."""

    features = frozenset()
    search = detail = price = open_handoff = Shop.search


class Broken:
    def __init__(self) -> None:
        raise RuntimeError("the password is hunter2")


class Unfinished:
    features = frozenset({"browse"})
    search = detail = price = open_handoff = Shop.search


class Nameless(Shop):
    features = frozenset({"customers"})


class Silent(Shop):
    features = frozenset({"steps"})


class Knowing(Nameless):
    def consumer_reference(self, request: Any) -> str:
        return ""


class Misspelt(Shop):
    features = frozenset({"brwose"})


class OneText(Shop):
    features = "browse"  # type: ignore[assignment]


DENIALS = [Deny(name="closed", capabilities=("contact",))]
ONE_DENIAL = DENIALS[0]


def denials() -> list[Deny]:
    return DENIALS


def failing() -> list[Deny]:
    raise RuntimeError("no")


def test_the_features_of_the_store_decide_what_is_built_in(shop: Any, configure: Any) -> None:
    assert names() == BUILT_IN
    configure(STORE=f"{__name__}.Small")
    assert names() == [name for name in BUILT_IN if name not in ("browse", "contact")]


def test_a_store_needs_no_methods_for_what_it_does_not_do(configure: Any) -> None:
    configure(STORE=f"{__name__}.Reader")
    assert isinstance(offer().store, Reader)


def test_a_store_that_knows_its_customers_has_a_method_of_another_name(configure: Any) -> None:
    configure(STORE=f"{__name__}.Knowing")
    assert isinstance(offer().store, Knowing)


def test_without_a_store_there_are_only_own_capabilities(configure: Any, own: Any) -> None:
    configure(STORE="")
    own("gift.wrap", handler)
    assert names() == []
    assert "gift.wrap" in [one.name for one in offer().capabilities]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Broken", "cannot be made: RuntimeError"), ("Nothing", "cannot be made: ImportError"),
        ("Unfinished", "has no browse"), ("Nameless", "has no consumer_reference"),
        ("Silent", "has no step_outcome"), ("Misspelt", "features is a set"), ("OneText", "features is a set"),
        ("handler", "cannot be made: TypeError"), ("denials", "features is a set"),
    ],
)  # fmt: skip
def test_a_store_that_cannot_be_made_is_told_without_its_secrets(configure: Any, name: str, told: str) -> None:
    configure(STORE=f"{__name__}.{name}")
    with pytest.raises(NoStore, match=told) as refused:
        offer()
    assert refused.value.status == 503
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["DENIALS", "denials"])
def test_policies_are_a_sequence_or_what_makes_one_and_scope_comes_first(shop: Any, configure: Any, name: str) -> None:
    configure(POLICIES=f"{__name__}.{name}")
    assert [policy.name for policy in offer().policies] == ["scope", "closed"]


@pytest.mark.parametrize("name", ["ONE_DENIAL", "failing", "nowhere"])
def test_policies_that_cannot_be_read_close_the_shop(shop: Any, configure: Any, name: str) -> None:
    configure(POLICIES=f"{__name__}.{name}")
    with pytest.raises(NoStore):
        offer()


def test_an_own_capability_takes_the_place_of_a_built_in(shop: Any, own: Any) -> None:
    mine = own("search", handler, method="GET", path="/search")
    assert named("search") is mine
    assert names() == BUILT_IN
    assert offer().match("/search") == Match({"GET": mine}, {})


def test_the_offer_is_made_once_and_anew_after_a_registration(shop: Any, own: Any) -> None:
    assert offer() is offer()
    before = offer()
    own("gift.wrap", handler)
    assert offer() is not before


@pytest.mark.parametrize(
    "facts",
    [
        {"method": "GET", "path": "/search"},
        {"method": "PUT", "path": "/cart"},
        {"method": "POST", "path": "/detail/:sku", "params": {"sku": Param("string")}},
    ],
)
def test_two_at_one_address_are_refused(shop: Any, own: Any, facts: dict[str, Any]) -> None:
    own("mine", handler, **facts)
    with pytest.raises(NoStore, match="mine"):
        offer()


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/detail/42", {"id": "42"}), ("/detail/42/", {"id": "42"}), ("/detail", {}), ("/detail/", {}),
        ("/detail/:id", {}), ("/detail/:other", {"id": ":other"}), ("detail/42", {"id": "42"}),
        ("/detail/a b", {"id": "a b"}),
    ],
)  # fmt: skip
def test_a_part_of_the_path_may_be_given_missing_or_literal(shop: Any, path: str, params: dict[str, str]) -> None:
    match = offer().match(path)
    assert match is not None
    assert match.params == params
    assert match.by_method["GET"].name == "detail"


@pytest.mark.parametrize("path", ["/", "", "/nothing", "/detail/42/7", "/detail//42", "/details", "/cart/1", "/Search"])
def test_what_is_at_no_declared_path_is_not_found(shop: Any, path: str) -> None:
    assert offer().match(path) is None


def test_all_methods_of_a_path_are_found_together(shop: Any) -> None:
    match = offer().match("/cart")
    assert match is not None
    assert {method: one.name for method, one in match.by_method.items()} == {
        "GET": "cart.view", "POST": "cart.add", "PATCH": "cart.update", "PUT": "cart.update", "DELETE": "cart.remove",
    }  # fmt: skip


def test_a_part_in_the_middle_has_to_be_there(shop: Any, own: Any) -> None:
    own("line.note", handler, path="/line/:id/note", params={"id": Param("string")})
    found = offer().match("/line/7/note")
    assert found is not None
    assert found.params == {"id": "7"}
    assert offer().match("/line//note") is None
    assert offer().match("/line/note") is None
