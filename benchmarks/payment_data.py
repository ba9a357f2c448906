"""``python -m benchmarks.payment_data``: what the search for payment data costs, and what it takes for a card.

It needs no database. Identifiers are random, from a fixed seed, so that the table is the same on every machine. Times
are those that the processor spends, so that other work on the machine does not count, beside what reading the same body
as JSON takes.
"""

from __future__ import annotations

import base64
import gc
import random
import string
import sys
import uuid
from collections.abc import Callable, Mapping
from time import thread_time
from typing import Any

import msgspec

from agent_sessions.api.parsing import read_object
from agent_sessions.domain.payment_data import find_payment_data

SEED = 2026
TRIED = 50_000
"""Identifiers of each kind."""
CALLS = 10_000
LIMIT = 20.0
"""Microseconds that the median search of a usual body may take."""
Make = Callable[[random.Random], object]


def main() -> int:
    """Print both tables. Returns 1 when the search takes longer than it may."""
    print(f"| identifier ({TRIED:,} each, seed {SEED}) | taken for a card |\n| --- | ---: |")
    for name, make in IDENTIFIERS.items():
        print(f"| {name} | {share(make):.2%} |")
    print("\n| body | bytes | reading it as JSON, median | the search, median | p99 |")
    print("| --- | ---: | ---: | ---: | ---: |")
    slowest = 0.0
    for name, body in BODIES.items():
        text = msgspec.json.encode(body)
        reading, _ = times(lambda text=text: read_object(text, "application/json"))  # type: ignore[misc]
        median, p99 = times(lambda body=body: find_payment_data(body))  # type: ignore[misc]
        print(f"| {name} | {len(text)} | {reading:.1f} µs | {median:.1f} µs | {p99:.1f} µs |")
        slowest = max(slowest, median if name in USUAL else 0.0)
    if slowest > LIMIT:
        print(f"MISSED: the search of a usual body takes {slowest:.1f} µs, limit {LIMIT:.0f} µs")
    return int(slowest > LIMIT)


def share(make: Make) -> float:
    """Return which share of random identifiers is refused."""
    chance = random.Random(SEED)
    return sum(find_payment_data({"ref": make(chance)}) is not None for _ in range(TRIED)) / TRIED


def times(operation: Callable[[], Any]) -> tuple[float, float]:
    """Return median and 99th percentile of one call, in microseconds."""
    taken = []
    gc.collect()
    for _ in range(CALLS):
        start = thread_time()
        operation()
        taken.append(thread_time() - start)
    taken.sort()
    return taken[CALLS // 2] * 1e6, taken[CALLS * 99 // 100] * 1e6


def digits(chance: random.Random, count: int, first: str = "123456789") -> str:
    return chance.choice(first) + "".join(chance.choices(string.digits, k=count - 1))


def with_check_digit(body: str) -> str:
    """Return a GTIN: the digits and the check digit of GS1, which is not that of cards."""
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(body)))
    return body + str(-total % 10)


def imei(chance: random.Random) -> str:
    """Return an IMEI, whose check digit is that of cards."""
    body = "35" + "".join(chance.choices(string.digits, k=12))
    doubled = sum(
        sum(divmod(int(digit) * 2, 10)) if place % 2 == 0 else int(digit) for place, digit in enumerate(body[::-1])
    )
    return body + str(-doubled % 10)


def moment(chance: random.Random, per_second: int) -> int:
    """Return a time between 2020 and 2036."""
    return chance.randrange(1_577_836_800 * per_second, 2_082_758_400 * per_second)


def written_out(chance: random.Random) -> str:
    parts = (chance.randint(2000, 2035), chance.randint(1, 12), chance.randint(1, 28))
    return "{:04}{:02}{:02}".format(*parts) + "{:02}{:02}{:02}".format(*(chance.randrange(n) for n in (24, 60, 60)))


IDENTIFIERS: Mapping[str, Make] = {
    "EAN-13": lambda c: with_check_digit(digits(c, 12)),
    "EAN-13 with a German prefix (400 to 440)": lambda c: with_check_digit(f"{c.randint(400, 440)}{digits(c, 9)}"),
    "GTIN-14": lambda c: with_check_digit(digits(c, 13)),
    "IMEI beginning with 35": imei,
    "Unix time, milliseconds": lambda c: moment(c, 1_000),
    "Unix time, microseconds": lambda c: moment(c, 1_000_000),
    "Unix time, nanoseconds, as text": lambda c: str(moment(c, 1_000_000_000)),
    "yyyymmddhhmmss": written_out,
    "snowflake id of 19 digits": lambda c: str(moment(c, 1_000) - 1_288_834_974_657 << 22 | c.getrandbits(22)),
    "telephone number, E.164, +49": lambda c: "+49" + digits(c, c.randint(9, 11)),
    "telephone number, E.164, any country": lambda c: "+" + digits(c, c.randint(10, 15)),
    "UUID, version 4": lambda c: str(uuid.UUID(int=c.getrandbits(128), version=4)),
    "SHA-256, hexadecimal": lambda c: f"{c.getrandbits(256):064x}",
    "32 random bytes, base64url": lambda c: base64.urlsafe_b64encode(c.randbytes(32)).decode().rstrip("="),
    "parcel number, UPS (1Z…)": lambda c: "1Z" + "".join(c.choices(string.ascii_uppercase + string.digits, k=16)),
    "parcel number, DHL, 12 digits": lambda c: digits(c, 12),
    "parcel number, FedEx, 15 digits": lambda c: digits(c, 15),
    "parcel number, USPS, 22 digits": lambda c: "94" + digits(c, 20),
    **{f"random order number of {n} digits": (lambda c, n=n: digits(c, n)) for n in range(10, 20)},  # type: ignore[misc]
}

_CART = {"item": "mug-blue", "quantity": 2}
_USUAL = {
    "item": "mug-blue", "quantity": 2, "options": {"size": "L", "gift": "yes please, wrap it"},
    "note": "for Friday, as discussed on 2026-11-21T12:24:59Z",
    "customer": {"name": "Ada Example", "city": "Köln", "postcode": "50667", "phone": "+49 221 12345"},
    "payment": {"token": "tok_visa", "brand": "visa", "last4": "4242"},
}  # fmt: skip
USUAL = ("cart.add", "a usual body")
BODIES: Mapping[str, Any] = {
    "cart.add": _CART,
    "a usual body": _USUAL,
    "the same with a time in milliseconds, so that it is searched": {**_USUAL, "seen_at": 1_763_727_899_000},
    "a message of 4 kB in English": {"role": "user", "content": "Two of the blue mugs, please, by Friday. " * 100},
    "a message of 4 kB in Chinese": {"role": "user", "content": "请给我两个蓝色的杯子，星期五之前送到。" * 72},
    "a message of 4 kB of digits in groups of four, at worst": {"content": "1234 " * 820},
}

if __name__ == "__main__":
    sys.exit(main())
