"""Signals that go out after the commit. The package has no receivers of its own.

``session_changed``: every new event of a session; sends ``session_id``, ``version``, ``seq``, ``kind``.
``session_damaged``: a session was quarantined; sends ``session_id``, ``problem``. Connect your alarm to it.

``hold_review_due``: somebody has to ask whether a legal hold is still needed; sends ``hold_id``.

The sender is the model class that it is about, ``agent_sessions.models.Session`` or ``LegalHold``. A receiver that
raises is logged and holds up nobody.
"""

from __future__ import annotations

from django.dispatch import Signal

session_changed = Signal()
session_damaged = Signal()
hold_review_due = Signal()
