"""Staff read the evidence of an order, reveal what was said, and print it (A2, A9)."""

from __future__ import annotations

from agent_sessions import selectors
from agent_sessions.models import SiteEvent
from shop_demo.models import Order
from tests.browser.conftest import Browser

HIDDEN_IN_PRINT = ("#header", ".ags-tabs", ".ags-privacy", ".ags-tools", ".breadcrumbs")


def sheet(browser: Browser) -> str:
    return browser.page.locator(".ags-sheet").inner_text()


def test_evidence_of_an_order_is_read_revealed_and_printed(officer: Browser, shop: str, ordered: Order) -> None:
    session = selectors.selected_sessions(selectors.Selection(order=ordered.ref)).get()
    address = f"{shop}/admin/agent_sessions/session/{session.pk}/"
    officer.open(address)
    officer.follow("Evidence")
    assert "The whole session" in sheet(officer)
    officer.follow(f"Order {ordered.ref}")
    told = sheet(officer)
    for said in (
        "large orders",
        "policy_denied",
        "Celadon Teapot",
        "to review",
        "visa •••• 9995",
        "declined",
        "verified",
    ):
        assert said in told
    assert "She said the biggest pot" not in told
    assert not SiteEvent.objects.filter(kind="evidence.disclosed").exists()
    officer.shot("evidence-screen")

    officer.page.get_by_role("link", name="Reveal it", exact=True).click()
    for group in officer.page.locator("#ags-reveal [name=group]").all():
        group.check()
    officer.page.locator("#ags-reveal [name=reason]").fill("Case 4")
    officer.press("Show it for 10 minutes")
    assert "She said the biggest pot will do. <b>Now</b> ⟨U+202E⟩gpj" in sheet(officer)
    assert SiteEvent.objects.filter(kind="evidence.disclosed").count() == 1

    officer.page.emulate_media(media="print")
    for hidden in HIDDEN_IN_PRINT:
        for element in officer.page.locator(hidden).all():
            assert not element.is_visible(), hidden
    assert "She said the biggest pot" in sheet(officer)
    officer.resize(760, 1080)
    officer.shot("evidence-print")
    printed = officer.page.pdf(prefer_css_page_size=True)
    assert 1 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 4

    officer.page.emulate_media(media="screen", color_scheme="dark")
    officer.resize(320, 900)
    assert officer.overflows == []
    officer.shot("evidence-320")
    officer.follow("Bundle for an auditor")
    assert officer.heading == "Export evidence"
    assert officer.overflows == []
    officer.shot("export-320")
