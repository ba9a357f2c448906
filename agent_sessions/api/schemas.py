"""JSON Schemas of what the API takes and answers, for the OpenAPI description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agent_sessions.domain.identity import MAX_TEXT
from agent_sessions.services._texts import MAX_NOTE
from agent_sessions.store import Param
from agent_sessions.store.capabilities import NOTHING
from agent_sessions.store.params import MAX_TEXT as MAX_PARAM

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}

REFUSAL: Final[Schema] = {
    "type": "object",
    "required": ["ok", "error", "code", "details"],
    "properties": {
        "ok": {"const": False},
        "error": {"type": "string", "description": "What was wrong, and what to do next, in words."},
        "code": {"type": "string", "description": "The same for programs; it does not change."},
        "details": {"type": "object"},
    },
}
OPENING: Final[Schema] = {
    "type": "object",
    "properties": {
        "agent_name": {"type": "string", "maxLength": MAX_TEXT},
        "agent_version": {"type": "string", "maxLength": MAX_TEXT},
        "purpose": {"type": "string", "maxLength": MAX_NOTE, "description": "Why, in the agent's words."},
        "parent_request": {
            "type": "string",
            "maxLength": 64,
            "description": "One id for the sessions at several merchants that serve one request.",
        },
        "scope": {
            "type": "object",
            "description": "What the consumer allows the agent.",
            "additionalProperties": False,
            "properties": {
                "capabilities": {"type": "array", "items": _TEXT},
                "spend_cap": {"type": "integer", "minimum": 0, "description": "Minor units of the currency."},
                "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                "expires_at": _TIME,
            },
        },
    },
}
OPENED: Final[Schema] = {
    "type": "object",
    "required": ["session_token", "session_id", "expires_at", "capabilities"],
    "properties": {
        "session_token": {"type": "string", "minLength": 32, "description": "A secret, shown this once."},
        "session_id": {"type": "string", "format": "uuid", "description": "The session's public name."},
        "expires_at": _TIME,
        "capabilities": {"type": "array", "items": _TEXT, "description": "Those that need this session."},
        "audit": {"const": True, "description": "There will be a signed artifact."},
        "in_progress": {
            "type": "integer",
            "description": "Other sessions of the same consumer here; see session/in-progress before buying twice.",
        },
    },
}
ENDED: Final[Schema] = {
    "type": "object",
    "required": ["session_token", "ended_at", "ended"],
    "properties": {
        "session_token": _TEXT,
        "ended_at": _TIME,
        "ended": {"const": True},
        "audit_artifact_url": _TEXT,
    },
}
HANDOFF: Final[Schema] = {
    "type": "object",
    "required": ["handoff_url", "checkout_url", "human_handoff", "expires_at", "message"],
    "properties": {
        "handoff_url": {"type": "string", "format": "uri", "description": "For the human; agents do not follow it."},
        "checkout_url": {"type": "string", "format": "uri"},
        "human_handoff": {"const": True},
        "expires_at": _TIME,
        "message": _TEXT,
        "confirmations": {
            "type": "array",
            "items": _TEXT,
            "description": "The consumer's other agents, which ask them to confirm this checkout.",
        },
    },
}
ARTIFACT: Final[Schema] = {
    "type": "object",
    "required": ["session_id", "site", "created_at", "ended_at", "agent", "events", "root_hash", "signature"],
    "properties": {
        "session_id": {"type": "string", "description": "SHA-256 of the token."},
        "site": _TEXT,
        "created_at": _TIME,
        "ended_at": _TIME,
        "agent": {"type": "object"},
        "events": {"type": "array", "items": {"type": "object"}},
        "root_hash": _TEXT,
        "signature": _TEXT,
        "public_key": _TEXT,
    },
}
IN_PROGRESS: Final[Schema] = {
    "type": "object",
    "required": ["session_id", "agent_name", "status", "held_by", "created_at", "expires_at", "checkout"],
    "properties": {
        "session_id": {"type": "string", "format": "uuid"},
        "agent_name": _TEXT,
        "status": _TEXT,
        "held_by": {"enum": ["agent", "consumer", "staff"]},
        "created_at": _TIME,
        "expires_at": _TIME,
        "cart": {"type": "object", "description": "How many pieces, their titles, and what they cost."},
        "checkout": {"type": "boolean", "description": "A checkout of it waits to be paid."},
        "checkout_until": _TIME,
    },
}
CONFIRMATION: Final[Schema] = {
    "type": "object",
    "required": ["session_id", "agent_name", "asked_at", "answer"],
    "properties": {
        "session_id": {"type": "string", "format": "uuid", "description": "The session whose checkout it is."},
        "agent_name": _TEXT,
        "asked_at": _TIME,
        "answer": {"enum": ["open", "confirm", "decline"]},
    },
}
CHECKPOINT: Final[Schema] = {
    "type": "object",
    "required": ["number", "step", "attempt", "outcome", "version", "started_at"],
    "properties": {
        "number": {"type": "integer", "minimum": 1},
        "step": _TEXT,
        "method": _TEXT,
        "attempt": {"type": "integer", "minimum": 1},
        "outcome": {"enum": ["started", "done", "failed", "skipped", "unknown"]},
        "code": {"type": "string", "description": "Why it failed."},
        "version": {"type": "integer", "minimum": 1, "description": "The version that says it began."},
        "ended_version": {"type": "integer", "minimum": 1},
        "started_at": _TIME,
        "ended_at": _TIME,
    },
}
NEXT_ACTION: Final[Schema] = {
    "type": "object",
    "required": ["action"],
    "properties": {
        "action": {"enum": ["run", "ask", "wait", "escalate", "none"]},
        "step": _TEXT,
        "method": _TEXT,
        "not_before": _TIME,
        "reason": _TEXT,
    },
}
TURN: Final[Schema] = {
    "type": "object",
    "required": ["session_id", "number", "role", "content", "created_at"],
    "properties": {
        "session_id": {"type": "string", "format": "uuid", "description": "The session that it was said in."},
        "number": {"type": "integer", "minimum": 1},
        "role": _TEXT,
        "content": {"description": "What was said; null once that was erased."},
        "created_at": _TIME,
        "erased": {"type": "boolean", "description": "True, and there only, where the content was erased."},
    },
}
VERSION: Final[Schema] = {
    "type": "object",
    "required": ["number", "version_id", "kind", "actor", "created_at", "committed"],
    "properties": {
        "number": {"type": "integer", "minimum": 1},
        "version_id": {"type": "string", "format": "uuid"},
        "kind": {"type": "string", "description": "What happened: cart.item_added."},
        "actor": {"type": "string", "description": "Who did it: agent, consumer, staff or system, with a reference."},
        "created_at": _TIME,
        "committed": {"type": "boolean", "description": "False: tentative, a rollback undoes it."},
    },
}
STATE_VIEW: Final[Schema] = {
    "type": "object",
    "required": ["version", "schema", "state"],
    "properties": {
        "version": {"type": "integer", "minimum": 1},
        "schema": {
            "type": "integer",
            "description": "The schema that it was stored with; it is told in the current one.",
        },
        "state": {"type": "object"},
    },
}
DIFFERENCE: Final[Schema] = {
    "type": "object",
    "required": ["kind", "path", "text"],
    "properties": {
        "kind": {"type": "string", "description": "line.quantity_changed"},
        "path": {"type": "string", "description": "JSON pointer into the state."},
        "text": {"type": "string", "description": "The same in words."},
        "before": {},
        "after": {},
    },
}
HOLD: Final[Schema] = {
    "type": "object",
    "required": ["hold_id", "item_id", "quantity", "held_at", "until"],
    "properties": {
        "hold_id": {"type": "string", "format": "uuid"},
        "item_id": _TEXT,
        "quantity": {"type": "integer", "minimum": 1},
        "held_at": _TIME,
        "until": {**_TIME, "description": "Then it is released by itself, at the latest."},
        "free": {
            "type": "integer",
            "minimum": 0,
            "description": "How many more there are, where the shop counts them.",
        },
    },
}
ITEM_STOCK: Final[Schema] = {
    "type": "object",
    "required": ["item_id", "held", "text"],
    "properties": {
        "item_id": _TEXT,
        "held": {"type": "integer", "minimum": 0},
        "hold_id": {"type": "string", "format": "uuid"},
        "held_at": _TIME,
        "until": _TIME,
        "free": {"type": "integer", "minimum": 0, "description": "How many more there were when the shop was asked."},
        "seen_at": {**_TIME, "description": "When that was."},
        "text": {"type": "string", "description": "The same in words."},
    },
}
_ENTRIES: Final[Schema] = {"type": "object", "additionalProperties": {"type": "object"}}
SESSION: Final[Schema] = {
    "type": "object",
    "required": ["session_id", "status", "kind", "version", "expires_at", "seconds_left", "held_by", "may", "cart"],
    "properties": {
        "session_id": {"type": "string", "format": "uuid"},
        "status": {"enum": ["active", "paused"]},
        "kind": _TEXT,
        "merchant": _TEXT,
        "version": {"type": "integer", "minimum": 1},
        "committed_version": {"type": "integer", "minimum": 0, "description": "What came after it is tentative."},
        "created_at": _TIME,
        "expires_at": {**_TIME, "description": "The deadline. Nothing moves it; renew the session before."},
        "seconds_left": {"type": "integer", "minimum": 0},
        "warning": {"type": "string", "description": "Only when the deadline is near."},
        "paused_at": _TIME,
        "held_by": {"enum": ["agent", "consumer", "staff"], "description": "Who has the session now."},
        "family": {"type": "string", "format": "uuid", "description": "The first session that this one came from."},
        "parent_request": _TEXT,
        "scope": {"type": "object"},
        "cart": {"type": "object"},
        "approval": {"type": "object", "description": "What a person was asked about this cart, and where it stands."},
        "stale": {**_ENTRIES, "description": "What has changed outside and has to be validated again."},
        "holds": {**_ENTRIES, "description": "What the shop keeps for this session."},
        "steps": {**_ENTRIES, "description": "Each step that was begun, and its outcome."},
        "interventions": {**_ENTRIES, "description": "What a person has to do before the agent goes on."},
        "next_step": NEXT_ACTION,
        "may": {"type": "array", "items": _TEXT, "description": "What the session takes now, by operation."},
    },
}
COMPONENTS: Final[Schema] = {"Refusal": REFUSAL, "Handoff": HANDOFF}
HEADERS: Final[Schema] = {
    "Idempotent-Replayed": {
        "description": "true: this request was carried out before, and this is what it was answered then.",
        "schema": {"const": "true"},
    },
    "ETag": {"description": 'The session\'s version after the call, as "v3".', "schema": _TEXT},
    "Link": {"description": "Where agents.json is.", "schema": _TEXT},
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}},
    "X-RateLimit-Limit": {"description": "Requests per minute.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "Requests left in this minute.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "When the minute ends, Unix time.", "schema": {"type": "integer"}},
}
IF_MATCH: Final[Schema] = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": 'The version that the call is based on, as "v3". If the session has moved on, nothing is written.',
    "schema": _TEXT,
}
IDEMPOTENCY_KEY: Final[Schema] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request safe to send again: for 24 hours the same key and request get the same answer, "
    "and have one effect. Unique for each request, such as a UUID, with quotes or without; 16 characters or more "
    "where no session token is sent.",
    "schema": {"type": "string", "pattern": r'^("[!#-\[\]-~]{1,255}"|[!#-+\--\[\]-~]{1,255})$'},
}
REFUSALS: Final[Mapping[str, str]] = {
    "400": "Something in the request is missing or wrong, or the store cannot do it.",
    "401": "The session token is missing, invalid or expired.",
    "403": "A rule of the site, or of the consumer, does not allow it.",
    "404": "There is nothing at this address, or no such item.",
    "405": "The address does not take this method.",
    "409": "The session has changed meanwhile, or is closed, or the same request is being carried out.",
    "410": "What the session said has been erased.",
    "412": "The session is no longer at the version that If-Match names.",
    "413": "The body, or what the session would hold, is too large.",
    "422": "The Idempotency-Key came with another request before, or a session cannot hold what was sent, such as the "
    "number of a card.",
    "425": "The session is still active.",
    "429": "Too many requests in this minute, or too many live sessions.",
    "500": "The site failed.",
    "503": "The site cannot answer right now.",
}


def envelope(data: Schema) -> Schema:
    """Return the schema of a success that holds ``data``."""
    return {"type": "object", "required": ["ok", "data"], "properties": {"ok": {"const": True}, "data": data}}


def json_content(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def of_param(param: Param) -> Schema:
    """Return the JSON Schema of one parameter, with the bounds that agents.json cannot tell."""
    schema: Schema = {"type": param.type}
    if param.description:
        schema["description"] = param.description
    if param.default is not NOTHING:
        schema["default"] = param.default
    if param.enum:
        schema["enum"] = list(param.enum)
    if param.type == "array":
        schema["items"] = {"type": param.items} if param.items else {}
    lowest, highest = ("minLength", "maxLength") if param.type == "string" else ("minimum", "maximum")
    if param.minimum is not None:
        schema[lowest] = param.minimum
    if param.maximum is not None or param.type == "string":
        schema[highest] = MAX_PARAM if param.maximum is None else param.maximum
    return schema


def of_params(params: Mapping[str, Param]) -> Schema:
    """Return the JSON Schema of a body that holds these parameters."""
    schema: Schema = {"type": "object", "properties": {name: of_param(param) for name, param in params.items()}}
    required = [name for name, param in params.items() if param.required]
    return schema | {"required": required} if required else schema
