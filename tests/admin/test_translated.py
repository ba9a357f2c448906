"""Whatever the pages say in the package's own words, and not in a session's, can be translated (O1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from agent_sessions import services
from agent_sessions.domain.calls import Call
from agent_sessions.services import OpenedSession
from tests.admin.addresses import readable
from tests.store.calling import call, shop

pytestmark = pytest.mark.django_db
__all__ = ["shop"]
BEGIN, END = "⟦", "⟧"
ATTRIBUTES = frozenset({"aria-label", "alt", "placeholder", "title"})
"""Attributes that are read to people."""
OTHERS_WORDS = frozenset({"code", "kbd", "pre", "time", "script", "style", "textarea"})
"""Elements with names, documents and times; how those read is not a matter of words."""
TOLD = frozenset({"ags-changes", "ags-differences", "ags-spoken", "ags-params", "ags-private", "ags-missing"})
"""Classes of what a session says itself: the sentences about changes are the API's own, and what people wrote."""
WORDS = "Zyx Wvu"
SHOP_WORDS = """
    Acme Assistants Mug NeedsHuman Shopping agents approval capabilities checkout consumer content decision_log default
    ed25519 example helper https k1 large-orders order_evidence over payment personal quote shop spend_cap standard
"""
UNITS = "EUR JSON POST UTC d h min ms s"
DATA = frozenset(f"{WORDS} {SHOP_WORDS} {UNITS}".split())
"""What the session and the settings say, and units."""
REFUSED = Call("checkout", "POST", policy_result="deny", policy_rule="spend_cap", response_status=403)
VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "path", "wbr"})


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every translated text stands in brackets, as if each language had them."""
    for name in ("gettext", "pgettext", "ngettext", "npgettext"):
        original: Callable[..., Any] = getattr(translation._trans, name)
        monkeypatch.setattr(
            translation._trans, name, lambda *args, tell=original: f"{BEGIN}{tell(*args)}{END}", raising=False
        )


class Untranslated(HTMLParser):
    """Gathers what a page says outside of the brackets, below ``#content-main`` or in the list of sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._depth = 0
        self._open: list[tuple[str, bool, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        _, inside, told = self._open[-1] if self._open else ("", False, False)
        inside = inside or facts.get("id") in ("content-main", "changelist-filter")
        told = (
            told or tag in OTHERS_WORDS or facts.get("lang") == "en" or bool(TOLD & set(facts.get("class", "").split()))
        )
        if inside and not told:
            for name in ATTRIBUTES & facts.keys():
                self._look(facts[name])
        if tag not in VOID:
            self._open.append((tag, inside, told))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][1] and not self._open[-1][2]:
            self._look(data)
        else:
            self._bare(data)

    def _look(self, text: str) -> None:
        words = re.findall(r"[^\W\d_][\w’'-]*", self._bare(text))
        if any(word not in DATA for word in words):
            self.found.append(text.strip())

    def _bare(self, text: str) -> str:
        """Return what is outside of brackets, which may have been opened in an earlier text and hold elements."""
        outside = []
        for letter in text:
            self._depth += {BEGIN: 1, END: -1}.get(letter, 0)
            outside.append(letter if self._depth == 0 and letter != END else " ")
        return "".join(outside)


@pytest.fixture
def told(shop: Any, opened: Any, configure: Any) -> OpenedSession:
    """A session with a cart, a refusal, an approval that was left to the staff, a hold and words."""
    configure(POLICIES="tests.services.asking.POLICIES", END_ON_HANDOFF=False)
    one: OpenedSession = opened(purpose=WORDS, parent_request=WORDS)
    call("cart.add", one, item_id="mug", quantity=2)
    services.record_event(one.session_id, kind="capability.refused", call=REFUSED)
    services.add_message(one.session_id, role="user", content=WORDS)
    asked = services.request_approval(one.session_id, reason=WORDS)
    services.escalate_approval(asked.approval_id, reason=WORDS)
    return one


@pytest.mark.usefixtures("marked")
def test_no_page_says_what_cannot_be_translated(admin_client: Client, told: OpenedSession) -> None:
    found = {}
    for name, place in readable(admin_client, told.session_id).items():
        reader = Untranslated()
        reader.feed(admin_client.get(place).content.decode())
        if reader.found:
            found[name] = reader.found

    assert found == {}
