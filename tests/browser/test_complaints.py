"""The browser of the tests notices what would otherwise go wrong unseen."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Browser


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("<script>document.title = 'taken'</script>", "Content Security Policy"),
        ("<p style='color: red'>", "Content Security Policy"),
        ("<script src=/broken.js></script>", "lost is not defined"),
        ("<script src=/asking.js></script>", "opened a dialog: Really?"),
        ("<script src=/gone.js></script>", "404"),
        ("<img src=https://elsewhere.example/pixel.gif>", "elsewhere.example"),
    ],
)
def test_what_goes_wrong_on_a_page_is_noticed(browser: Browser, shop: str, page: str, complaint: str) -> None:
    policy = {"Content-Security-Policy": "default-src 'self'"}
    browser.page.route("**/odd", lambda route: route.fulfill(body=page, content_type="text/html", headers=policy))
    browser.page.route("**/broken.js", lambda route: route.fulfill(body="lost()", content_type="text/javascript"))
    browser.page.route("**/asking.js", lambda route: route.fulfill(body="alert('Really?')"))
    browser.open(f"{shop}/odd")
    browser.wait_until(lambda: any(complaint in one for one in browser._complaints))
    assert browser.complaints()
    assert browser.complaints() == []
