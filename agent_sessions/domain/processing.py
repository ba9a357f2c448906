"""What is processed, of whom, and why: every column of every table belongs to one category (GDPR Art. 30, A5).

A category says what it is, whose data it is, what for, on which ground (a proposal: the controller decides), for how
long, and how it is protected. ``KEPT_BY_RULES`` are the classes that retention rules are about. The records of
processing are made from this, so a column that is missing here is missing there; a test compares both with the models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KEPT_BY_RULES: Final = ("personal", "content")
_FOR_GOOD: Final = "for good"
_CONSUMERS: Final = "consumers"
_STAFF: Final = "staff of the site"
_CONTRACT: Final = "Art. 6(1)(b): steps that the consumer asked for, the contract"
_INTEREST: Final = "Art. 6(1)(f): to prove what was decided, to defend claims, to keep the site safe"
_DUTY: Final = "Art. 6(1)(c): legal obligations of the controller"
_PERSONAL_KEY: Final = "sealed with the session's personal key"
_PSEUDONYMS: Final = "pseudonyms, made with a key of the site"
_PLAIN: Final = "plain; nothing in it names a person"


@dataclass(frozen=True, slots=True)
class Category:
    """``kept`` is ``personal`` or ``content`` (retention rules say how long), or says it. ``basis`` and ``subjects``
    are empty for what is not about a person.
    """

    name: str
    what: str
    subjects: str
    purpose: str
    basis: str
    kept: str
    protection: str


CATEGORIES: Final = (
    Category(
        "personal_content",
        "what the consumer said or is, what was looked up about them, where goods go, what agents write as they like",
        _CONSUMERS, "carry out what the consumer asked the agent for", _CONTRACT, "personal", _PERSONAL_KEY,
    ),
    Category(
        "conversation", "turns of the conversation of consumer and agent",
        _CONSUMERS, "carry out what the consumer asked the agent for", _CONTRACT, "personal", _PERSONAL_KEY,
    ),
    Category(
        "private_values", "purpose of a session, notes, private parameters of calls, reasons",
        _CONSUMERS, "carry out what the consumer asked for; explain decisions", _CONTRACT, "personal", _PERSONAL_KEY,
    ),
    Category(
        "approval_texts", "why an agent paused, and what a person wrote to it",
        f"{_CONSUMERS}, {_STAFF}", "have a person decide", _CONTRACT, "personal", _PERSONAL_KEY,
    ),
    Category(
        "answers", "recorded answers to requests that may be sent again",
        _CONSUMERS, "carry out a repeated request once", _CONTRACT,
        "24 hours, and no longer than the personal class", _PERSONAL_KEY,
    ),
    Category(
        "content", "goods, prices, decisions and their times",
        _CONSUMERS, "carry out the session; prove how the agent decided", f"{_CONTRACT}; {_INTEREST}",
        "content", "sealed with the session's content key",
    ),
    Category(
        "goods_held", "which goods were held for a session, and the digest of a cart that was approved",
        _CONSUMERS, "hold goods until they are paid", _CONTRACT, "content", "plain, by the session's id",
    ),
    Category(
        "pseudonyms", "who the consumer is, who called, from which address",
        f"{_CONSUMERS}, callers", "find a consumer's sessions; limit and bind callers", f"{_CONTRACT}; {_INTEREST}",
        "personal", _PSEUDONYMS,
    ),
    Category(
        "callers", "who opened a session last when",
        "callers", "limit how many sessions one caller has", _INTEREST, "a day after they opened one last", _PSEUDONYMS,
    ),
    Category(
        "references", "goods and vouchers that a session depends on, or did when it ended; changes in the shop",
        _CONSUMERS, "tell agents of what has changed; let staff find a session by its goods", _CONTRACT,
        "as long as what is personal of the session; a reported change for a day after it was carried on",
        "plain ids of the shop; consumers as pseudonyms, made with a key of the site",
    ),
    Category(
        "permissions", "whom a consumer let take over a session, and what was answered on another device",
        _CONSUMERS, "let the consumer decide", _CONTRACT, "personal", "pseudonyms; tokens as digests",
    ),
    Category(
        "agents", "name, version, operator and key that an agent gave",
        "operators of agents, where they are persons", "tell who acted", _INTEREST, _FOR_GOOD, "plain",
    ),
    Category(
        "orders", "reference of the order, amount of what was approved",
        _CONSUMERS, "prove which order came of which session", f"{_CONTRACT}; {_DUTY}", _FOR_GOOD,
        "plain; references lead to a person only in the shop's own records",
    ),
    Category(
        "course", "ids, status, times and numbers of sessions, turns, steps, approvals and checkouts",
        _CONSUMERS, "carry out the session; prove that its history is whole", _INTEREST, _FOR_GOOD,
        "plain; leads to a person only by the pseudonyms, or by an order in the shop's own records",
    ),
    Category(
        "proof",
        "events, hashes, signatures, artifacts, the log: commitments, what agents and staff did, and those parameters "
        "of calls that are declared as shown (ids of goods, counts, choices)",
        f"{_CONSUMERS}, {_STAFF}", "prove how the agent decided", _INTEREST, _FOR_GOOD,
        "plain; private values as commitments that say nothing once their key is destroyed; staff as pseudonyms",
    ),
    Category(
        "staff", "who of the staff took over, decided, placed, lifted or asked",
        _STAFF, "tell who acted", _INTEREST, _FOR_GOOD, "pseudonyms of the host's, such as a user's primary key",
    ),
    Category(
        "cases", "legal holds, and requests to be erased with their receipts",
        _CONSUMERS, "keep what has to be kept; prove what was erased", f"{_DUTY}; {_INTEREST}", _FOR_GOOD,
        "plain text of the staff; consumers as pseudonyms, emptied once a request has erased all of theirs",
    ),
    Category(
        "keys", "data keys of sessions and keys of the site",
        "", "seal, sign, make pseudonyms", "", "data keys until their class is erased, the others for good",
        "wrapped by a master key that is kept elsewhere",
    ),
    Category(
        "operation", "counters, deadlines, digests of tokens and requests, work in progress",
        "", "run the site", "", "with the row that they are in", _PLAIN,
    ),
)  # fmt: skip

COLUMNS: Final[dict[str, dict[str, str]]] = {
    "Approval": {
        "approval_texts": "body",
        "goods_held": "fingerprint",
        "orders": "amount currency",
        "staff": "decided_by",
        "course": "id session status capability rule version requested_at expires_at opened_at decided_at used_at",
        "operation": "token_digest attempts",
    },
    "Artifact": {
        "proof": "session envelope root_hash signature runtime_signature signing_key event_count created_at",
    },
    "AuditEvent": {
        "private_values": "private",
        "proof": "session created_at seq version response_status kind capability policy_result canonical",
    },
    "Caller": {"callers": "caller seen_at"},
    "CheckoutHandoff": {
        "pseudonyms": "consumer",
        "orders": "order_ref",
        "course": (
            "id session merchant family version created_at expires_at opened_at replaced_at ordered_at confirmed_at "
            "given_up_at closed_at"
        ),
        "operation": "token_digest",
    },
    "Checkpoint": {
        "course": "session number version ended_version attempt step method outcome code started_at due_at ended_at",
    },
    "DeviceConfirmation": {"permissions": "id session device fingerprint asked_at answer answered_at"},
    "Erasure": {
        "cases": "id merchant consumer requested_at due_at finished_at receipt",
        "staff": "requested_by",
    },
    "HeldItem": {"operation": "id merchant item quantity taken"},
    "Hold": {
        "goods_held": "id session merchant item quantity held_at expires_at released_at released_because",
    },
    "IdempotencyRecord": {
        "answers": "answer",
        "operation": "digest fingerprint session claimed_at expires_at",
    },
    "LegalHold": {
        "cases": (
            "id scope session merchant consumer order_ref period_start period_end matter placed_at review_at "
            "reminded_at lifted_at lift_reason"
        ),
        "staff": "placed_by lifted_by",
    },
    "LogGeneration": {"proof": "number origin reason size frontier position created_at closed_at"},
    "LogLeaf": {"proof": "generation index kind session seq head data hash created_at"},
    "LogNode": {"proof": "generation level index hash"},
    "Message": {
        "conversation": "body",
        "course": "session number role event_seq created_at",
    },
    "Session": {
        "pseudonyms": "consumer caller bound_to",
        "agents": "agent_name agent_version agent_operator agent_key scope parent_request",
        "staff": "held_by",
        "course": (
            "id status kind merchant family origin parent parent_version created_at updated_at expires_at ended_at "
            "end_reason paused_at sealed_at quarantined_at ordered_at personal_erased_at content_erased_at version "
            "version_uid committed_version schema snapshot_version patch_bytes head_seq head_hash"
        ),
        "operation": "token_digest token_key",
    },
    "SessionKey": {"keys": "session master_key_id wrapped personal"},
    "SessionReference": {"references": "session ref"},
    "SessionVersion": {
        "content": "patch snapshot",
        "personal_content": "personal_patch personal_snapshot",
        "course": "session number event_seq schema",
    },
    "SiteEvent": {"proof": "seq created_at kind canonical hash"},
    "SiteKey": {"keys": "id purpose public master_key_id wrapped created_at retired_at revoked_at reason"},
    "StoreChange": {
        "references": "merchant ref what reported_at done_at",
        "operation": "id after_session claimed_until",
    },
    "TransferGrant": {"permissions": "id session token_digest granted_by created_at expires_at used_at"},
    "TreeHead": {
        "proof": "generation size root note signing_key created_at exported_at exported_to cosignatures",
    },
}
"""Model → category → its columns."""


def columns_of(category: str) -> list[str]:
    """Return the columns of a category, as ``Model.column``."""
    return [
        f"{model}.{column}" for model, found in sorted(COLUMNS.items()) for column in found.get(category, "").split()
    ]
