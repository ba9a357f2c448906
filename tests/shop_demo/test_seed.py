from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from django.contrib.auth import get_user_model
from django.contrib.staticfiles import finders
from django.core.management import call_command

from shop_demo.models import Category, Product, Variant, Voucher

pytestmark = pytest.mark.django_db


def seed(**options: object) -> str:
    out = StringIO()
    call_command("seed_shop", stdout=out, **options)
    return out.getvalue()


def test_seeding_twice_restores_and_doubles_nothing() -> None:
    seed()
    before = {model: model.objects.count() for model in (Category, Product, Variant, Voucher)}
    Variant.objects.filter(sku="SENCHA-50G").update(price_minor=1, stock=0)
    seed()

    assert {model: model.objects.count() for model in before} == before
    assert before[Product] >= 20
    assert Variant.objects.values_list("price_minor", "stock").get(sku="SENCHA-50G") == (790, 40)


def test_every_product_has_a_picture_of_its_own_that_holds_no_script() -> None:
    seed()
    pictures = list(Product.objects.values_list("picture", flat=True))

    assert len(set(pictures)) == len(pictures)
    for picture in pictures:
        drawn = ElementTree.fromstring(Path(finders.find(picture)).read_text())  # noqa: S314 - our own files
        names = {element.tag.rpartition("}")[2] for element in drawn.iter()}
        assert names.isdisjoint({"script", "style", "foreignObject", "image"})
        assert len(list(drawn.iter())) > 5


def test_a_user_for_the_admin_is_made_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    users = get_user_model().objects
    monkeypatch.delenv("DEMO_ADMIN_PASSWORD", raising=False)
    seed()
    assert not users.exists()

    printed = seed(staff=True)
    password = printed.rsplit(" ", 1)[1].strip().rstrip(".")
    assert users.get(username="admin").check_password(password)

    assert password not in seed(staff=True)
    assert users.get(username="admin").check_password(password)


def test_customers_are_made_only_when_asked_for_and_are_no_staff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEMO_CUSTOMER_PASSWORD", raising=False)
    printed = seed(customers=True)
    users = get_user_model().objects.order_by("username")

    assert [user.get_username() for user in users] == ["anna", "ben"]
    assert not any(user.is_staff or user.is_superuser for user in users)
    passwords = re.findall(r"Made the user \w+ with the password (\S+)\.\n", printed)
    assert len(set(passwords)) == 2
    assert all(user.check_password(password) for user, password in zip(users, passwords, strict=True))

    monkeypatch.setenv("DEMO_CUSTOMER_PASSWORD", "correct horse battery")
    assert "The user anna is there already and keeps its password." in seed(customers=True)
    assert users[0].check_password(passwords[0])


def test_the_password_may_come_from_the_environment_and_is_then_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_ADMIN_PASSWORD", "correct horse battery")

    printed = seed(staff=True)

    assert "horse" not in printed
    assert get_user_model().objects.get(username="admin").check_password("correct horse battery")
