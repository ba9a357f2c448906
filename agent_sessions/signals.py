"""Signals that go out after the commit. The package has no receivers of its own.

``session_changed``: every new event of a session; sends ``session_id``, ``version``, ``seq``, ``kind``.
``session_damaged``: a session was quarantined; sends ``session_id``, ``problem``. Connect your alarm to it.

``hold_review_due``: somebody has to ask whether a legal hold is still needed; sends ``hold_id``.

``checkout_link_resent``: staff want a customer to have a new link to pay by; sends ``session_id``, ``url``,
``expires_at``. Connect what mails it to them; then the admin shows it to nobody. Whoever has the link can pay: neither
log nor store it.

The sender is the model class that it is about, ``agent_sessions.models.Session``, ``LegalHold`` or
``CheckoutHandoff``. A receiver that raises is logged and holds up nobody.
"""

from __future__ import annotations

from django.dispatch import Signal

session_changed = Signal()
session_damaged = Signal()
hold_review_due = Signal()
checkout_link_resent = Signal()
