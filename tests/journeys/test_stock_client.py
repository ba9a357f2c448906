"""A client in another language buys through the shop with only agents.json to go by (tests/independent/buy.mjs)."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_sessions.audit.verify import verify_artifact
from agent_sessions.crypto.canonical import canonical_bytes
from shop_demo.models import Order

BUY = Path(__file__).resolve().parent.parent / "independent" / "buy.mjs"
TOTAL = 790 + 1850 + 490

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js 18 or later is not installed")


def buy(site: str, *wants: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["node", BUY, site, *wants], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("address", ["", "/compat"], ids=["configured profile", "other profile"])
@pytest.mark.parametrize("profile", ["spec", "compat"])
@pytest.mark.parametrize("ends", [True, False], ids=["ends at handoff", "goes on until paid"])
def test_it_buys_and_gets_a_record(
    shop: str, configure: Callable[..., None], profile: str, address: str, ends: bool
) -> None:
    configure(MANIFEST_PROFILE=profile, END_ON_HANDOFF=ends)

    bought = buy(shop + address, "sencha", "mug")

    assert bought.returncode == 0, bought.stderr
    told = json.loads(bought.stdout)
    order = Order.objects.get()
    assert told["order"] == shop + order.get_absolute_url()
    assert (order.total, told["total"]) == (TOTAL, "31.30")
    assert verify_artifact(canonical_bytes(told["record"], max_depth=68)).ok


def test_it_buys_where_nothing_is_recorded(shop: str, configure: Callable[..., None]) -> None:
    configure(AUDIT=False, ENDPOINTS="relative")

    bought = buy(shop)

    assert bought.returncode == 0, bought.stderr
    assert json.loads(bought.stdout)["record"] is None
    assert Order.objects.get().total == 790 + 490


def test_it_says_what_the_shop_does_not_have(shop: str) -> None:
    bought = buy(shop, "unobtainium")

    assert bought.returncode == 1
    assert "nothing fits unobtainium" in bought.stderr
