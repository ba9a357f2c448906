"""The site's keys: made when first needed, rotated and revoked by command."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from agent_sessions.conf import settings
from agent_sessions.crypto.pseudonyms import pseudonym
from agent_sessions.crypto.signing import key_id, new_signing_key, public_key_text
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import SiteKey
from agent_sessions.selectors import _rows

Purpose = SiteKey.Purpose
_SIGNING: Final = frozenset({Purpose.ARTIFACT, Purpose.LOG})
"""What has a key pair; the other keys are secrets of 32 random bytes."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key that artifacts of this site are signed with. ``public_key`` is base64 of its DER SPKI."""

    key_id: str
    public_key: str
    active: bool


def active_site_key(purpose: str) -> SiteKey:
    """Return the key that new things of this purpose are made with; the first call makes it.

    Raises KeyProblem.
    """
    alias = _rows.write_connection().alias
    active = SiteKey.objects.using(alias).filter(purpose=purpose, retired_at__isnull=True)
    found = active.first()
    if found is not None:
        return found
    made = _new_site_key(purpose)
    try:
        return _rows.with_retries(f"The {purpose} key", lambda: _stored(alias, made))
    except IntegrityError:
        return active.get()  # somebody else has just made it


def site_key_secret(key: SiteKey) -> bytes:
    """Unwrap a site key's secret. Raises KeyProblem."""
    return settings.key_provider.unwrap(key.master_key_id, bytes(key.wrapped), context=_context(key.purpose))


def rewrapped_site_key(key: SiteKey) -> tuple[str, bytes]:
    """Wrap a site key's secret anew: the active master key's id and the wrapped bytes. Raises KeyProblem."""
    return settings.key_provider.wrap(site_key_secret(key), context=_context(key.purpose))


def consumer_pseudonym(reference: str, *, merchant: str = "") -> str:
    """Return the pseudonym of a consumer: the same for the same reference and merchant, telling nothing by itself.

    ``reference`` is the store's own stable id of the customer. Raises InvalidValue if it is empty, KeyProblem.
    """
    if not isinstance(reference, str) or not reference:
        raise InvalidValue("/reference", "Send the store's own id of the customer as text.")
    key = active_site_key(Purpose.CONSUMER)
    return pseudonym(site_key_secret(key), merchant or settings.merchant, reference)


def caller_pseudonym(caller: str) -> str:
    """Return the pseudonym of whoever calls the API: of an address, or of the key that signed the request.

    Raises KeyProblem.
    """
    # No merchant is named by nothing, so a caller's pseudonym is never a consumer's.
    return pseudonym(site_key_secret(active_site_key(Purpose.CONSUMER)), "", caller)


def revoke_token_key(*, reason: str) -> None:
    """Make every token issued so far worthless, in one transaction; see ``revoke_all_sessions``.

    Asks no key service, so it works while that is out of reach.
    """
    rotate_site_key(Purpose.TOKEN, revoke=True, reason=reason)


def rotate_signing_key() -> SigningKey:
    """Sign artifacts with a new key from now on. What the old one signed stays good, and it stays listed."""
    return _described(rotate_site_key(Purpose.ARTIFACT))


def signing_keys() -> list[SigningKey]:
    """Return the public keys that verify this site's artifacts, the active one first."""
    active_site_key(Purpose.ARTIFACT)
    alias = _rows.write_connection().alias
    keys = SiteKey.objects.using(alias).filter(purpose=Purpose.ARTIFACT).order_by("-pk")
    return [_described(key) for key in keys]


def rotate_site_key(purpose: str, *, revoke: bool = False, reason: str = "") -> SiteKey:
    """Make a new key of a purpose and retire the one that was active, in one transaction.

    Of two at once the second takes what the first has made: every key of before is retired all the same.
    Raises KeyProblem.
    """
    alias = _rows.write_connection().alias
    active = SiteKey.objects.using(alias).filter(purpose=purpose, retired_at__isnull=True)
    made, now = _new_site_key(purpose), timezone.now()
    ended = {"retired_at": now, "revoked_at": now, "reason": reason} if revoke else {"retired_at": now}

    def rotate() -> SiteKey:
        with transaction.atomic(using=alias):
            active.update(**ended)
            return _stored(alias, made)

    try:
        return _rows.with_retries(f"The {purpose} key", rotate)
    except IntegrityError:
        return active.get()  # made by somebody else after this one began


def _new_site_key(purpose: str) -> dict[str, Any]:
    """Return the columns of a new key. With no transaction open: a key service may take its time."""
    public, master_key_id, wrapped = b"", "", b""
    # A token key is derived from the master key and this row's number, so revoking it needs no key service.
    if purpose != Purpose.TOKEN:
        secret, public = new_signing_key() if purpose in _SIGNING else (secrets.token_bytes(32), b"")
        master_key_id, wrapped = settings.key_provider.wrap(secret, context=_context(purpose))
    return {"purpose": purpose, "public": public, "master_key_id": master_key_id, "wrapped": wrapped}


def _stored(alias: str, made: dict[str, Any]) -> SiteKey:
    with transaction.atomic(using=alias):
        return SiteKey.objects.using(alias).create(created_at=timezone.now(), **made)


def _context(purpose: str) -> bytes:
    return b"agent-sessions/v1\0site-key\0" + purpose.encode()


def _described(key: SiteKey) -> SigningKey:
    public = bytes(key.public)
    return SigningKey(key_id(public), public_key_text(public), key.retired_at is None)
