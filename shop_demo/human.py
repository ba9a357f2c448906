"""The person who pays, scripted: opens the agent's link, reads the page, fills in its form and sends it.

It goes by the pages alone, as a browser does, so it shows that the shop works for people and not only that it was
called rightly.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.parse import urlencode, urljoin

from shop_demo.web import Answer, Problem, fetch

SAMPLE: Mapping[str, str] = {
    "email": "ada@example.com",
    "name": "Ada Example",
    "address": "1 Sample Street\n12345 Sampletown",
    "token": "tok_success",
}
_WITHOUT_TEXT = ("script", "style", "title", "head")
_WITHOUT_END = ("input", "img", "br", "meta", "link", "hr")


@dataclass(slots=True)
class Form:
    """A form as the page holds it; ``fields`` are what it would send if nobody touched it."""

    action: str = ""
    method: str = "get"
    fields: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)


class Page(HTMLParser):
    """An answer, read: ``heading``, ``text``, ``forms``."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        self.forms: list[Form] = []
        self.heading = ""
        self._inside: list[str] = []
        self._words: list[str] = []
        self._area = ""
        self.feed(answer.text)

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def text(self) -> str:
        """All that can be read on the page, with single spaces."""
        return " ".join(" ".join(self._words).split())

    def form_with(self, name: str) -> Form | None:
        """Return the form that has a field of this name."""
        return next((form for form in self.forms if name in form.names), None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(facts.get("action", ""), facts.get("method", "get").lower()))
        elif self.forms and "name" in facts:
            self._field(tag, facts)
        if tag not in _WITHOUT_END:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._area = ""
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._area:
            self.forms[-1].fields[self._area] += data
        elif not any(tag in self._inside for tag in _WITHOUT_TEXT):
            self._words.append(data)
            if "h1" in self._inside:
                self.heading = " ".join(f"{self.heading} {data}".split())

    def _field(self, tag: str, facts: Mapping[str, str]) -> None:
        form, name, kind = self.forms[-1], facts["name"], facts.get("type", "text")
        form.names.add(name)
        if tag == "textarea":
            self._area = name
            form.fields[name] = ""
        elif tag == "input" and (kind not in ("radio", "checkbox", "submit", "button") or "checked" in facts):
            form.fields[name] = facts.get("value", "on" if kind == "checkbox" else "")


class Human:
    """A person with a browser of their own: cookies are kept from page to page."""

    def __init__(self) -> None:
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def open(self, url: str) -> Page:
        """Follow a link. Raises Problem if no answer came."""
        return Page(fetch("GET", url, opener=self._opener))

    def send(self, page: Page, form: Form, **filled: str) -> Page:
        """Send a form of a page with some fields filled in; the rest goes as the page had it."""
        url = urljoin(page.answer.url, form.action)
        content = urlencode({**form.fields, **filled}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Referer": page.answer.url}
        return Page(fetch("POST", url, content=content, headers=headers, opener=self._opener))

    def pay(self, page: Page, **filled: str) -> Page:
        """Fill in the checkout on this page as SAMPLE says and send it. Raises Problem if there is nothing to pay."""
        form = page.form_with("token")
        if form is None:
            raise Problem(f"There is nothing to pay on the page ({page.status}).", f"It says: {page.text[:300]}")
        return self.send(page, form, **{**SAMPLE, **filled})
