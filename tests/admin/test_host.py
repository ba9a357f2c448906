"""Only this package's pages are its own: the host's admin stays as it was (O1)."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.test_package import run_without

HOST = r"""
import base64, re, django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    SECRET_KEY="a host's", USE_TZ=True, ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"], STATIC_URL="/static/",
    INSTALLED_APPS=[*("django.contrib." + name for name in "admin auth contenttypes sessions messages".split()), *OURS],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {
        "context_processors": ["django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth", "django.contrib.messages.context_processors.messages"]}}],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    AGENT_SESSIONS={"MASTER_KEYS": {"k1": base64.b64encode(bytes(range(32))).decode()}, "SITE": "https://a.example"},
)
django.setup()
from django.contrib import admin
from django.urls import path
admin.site.enable_nav_sidebar = False  # it lists all apps
urlpatterns = [path("admin/", admin.site.urls)]
call_command("migrate", verbosity=0)

from django.contrib.auth.models import User
from django.test import Client
client = Client()
pages = {"login/": client.get("/admin/login/")}
client.force_login(User.objects.create_superuser("eva"))
for address in ("auth/", "auth/user/", "auth/user/add/", "auth/user/1/history/", "auth/user/1/delete/", "auth/group/",
        "auth/group/add/?_popup=1", "password_change/"):
    pages[address] = client.get("/admin/" + address)
for address, answer in pages.items():
    assert answer.status_code == 200, address
    page = answer.content.decode()
    page = re.sub('name="csrfmiddlewaretoken" value="[^"]*"', "", page)
    print(address, re.sub(r"\s*<option[^>]*>[^<]*</option>\s*", "", page))  # the permissions that there are
"""


def test_other_pages_are_the_same_with_the_package_and_without_it() -> None:
    with_it, without = (run_without(set(), f"OURS = {apps}\n" + HOST) for apps in (["agent_sessions"], []))
    assert with_it == without
    assert len(without) > 20_000


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["index", "auth_user_changelist", "auth_user_add", "shop_demo_order_changelist"])
def test_other_pages_load_nothing_of_the_package(page: str) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("eva"))
    shown = client.get(reverse(f"admin:{page}")).content.decode()
    assert "static/agent_sessions" not in shown
    assert "ags-" not in shown
