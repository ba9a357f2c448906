"""Five million sessions in minutes: rows made by the database, for what looks for a session among very many.

They were opened evenly over a year up to now, as a busy shop's are: most ended, some ordered, the oldest erased, a few
live, waiting or closed. Each has its first event, and refusals, failed steps, approvals, checkout links and references
where it would. No content opens and no chain holds, which nothing here reads.
"""

from __future__ import annotations

from typing import Any, Final

_ID: Final = """(lpad(to_hex((extract(epoch FROM {at}) * 1000)::bigint), 12, '0') || '7'
    || substr({digits}, 1, 3) || '8' || substr({digits}, 4, 15))::uuid"""
_MADE: Final = f"""
    CREATE UNLOGGED TABLE made AS
    SELECT n, at, {_ID.format(at="at", digits="md5(n::text)")} AS id, hashint4(n) & 1023 AS dice,
        (hashint4(n + 7) & 65535) / 65536.0 AS luck, now() - at < interval '30 minutes' AS live
    FROM (SELECT n, now() - interval '365 days' * (1 - n::float / %(sessions)s) AS at
          FROM generate_series(1, %(sessions)s) n) told"""
_SESSIONS: Final = """
    INSERT INTO agent_sessions_session (id, status, kind, merchant, consumer, agent_name, agent_version, agent_operator,
        agent_key, scope, parent_request, family, origin, held_by, caller, bound_to, created_at, updated_at, expires_at,
        ended_at, end_reason, sealed_at, quarantined_at, ordered_at, personal_erased_at, version, version_uid,
        committed_version, schema, snapshot_version, patch_bytes, head_seq, head_hash, token_digest, token_key_id)
    SELECT id, CASE WHEN n %% 400000 = 7 THEN 'quarantined' WHEN live THEN 'active' ELSE 'ended' END,
        CASE WHEN dice < 870 THEN 'standard' WHEN dice < 950 THEN 'quote' WHEN dice < 1022 THEN 'payment'
             WHEN n %% 50 = 0 THEN 'consumer' ELSE 'standard' END,
        CASE WHEN n %% 33 = 0 THEN 'Fern' ELSE 'default' END,
        CASE WHEN dice %% 5 < 3 OR at < now() - interval '31 days' THEN '' ELSE md5((n %% 400001)::text) END,
        CASE WHEN dice < 512 THEN 'Shopping helper' WHEN dice < 720 THEN 'Basil of Acme'
             WHEN dice < 1000 THEN 'agent-' || n %% 300 ELSE '' END,
        '2.1', '', '', '{}', CASE WHEN dice %% 5 = 0 THEN 'req-' || n / 7 ELSE '' END, id, '', '', '', '', at,
        at + interval '12 minutes', at + interval '30 minutes',
        CASE WHEN NOT live THEN at + interval '12 minutes' END,
        CASE WHEN live THEN '' WHEN luck < 0.28 THEN 'completed' WHEN luck < 0.45 THEN 'deleted'
             WHEN luck < 0.99 THEN 'expired' ELSE 'revoked' END,
        CASE WHEN NOT live THEN at + interval '13 minutes' END,
        CASE WHEN n %% 400000 = 7 THEN at + interval '1 minute' END,
        CASE WHEN NOT live AND luck < 0.28 THEN at + interval '12 minutes' END,
        CASE WHEN at < now() - interval '31 days' THEN at + interval '31 days' END,
        5, id, 0, 3, 0, 900, 9, decode(md5(n::text) || md5(n::text), 'hex'), decode(lpad(to_hex(n), 64, '0'), 'hex'),
        %(key)s FROM made ORDER BY n"""
_EVENTS: Final = """
    INSERT INTO agent_sessions_auditevent
        (session_id, created_at, seq, version, response_status, kind, capability, policy_result, canonical)
    SELECT id, at, seq, version, status, kind, capability, result,
        convert_to('{"actor":"agent","capability":"' || capability || '","event_id":"' || id || '","kind":"' || kind
            || '","method":"POST","params":{"item":"MUG-1","note":"' || repeat('x', 150) || '"},"policy_result":"'
            || result || '"' || rule || ',"prev_hash":"' || md5(n::text) || md5(id::text) || '","response_status":'
            || status || '}', 'UTF8')
    FROM made, LATERAL (VALUES
        (1, 1, 201, 'session.created', '', 'allow', '', true),
        (2, NULL, 403, 'capability.refused', 'checkout', 'deny',
         ',"policy_rule":"' || CASE WHEN n %% 17 = 0 THEN 'large_orders' WHEN n %% 50021 = 0 THEN 'embargo'
                                    ELSE 'spend_cap' END || '"', dice %% 16 = 3),
        (3, 4, 200, 'step.failed', '', 'allow', '', dice %% 50 = 1 AND luck < 0.9),
        (4, NULL, 200, 'approval.rejected', '', 'allow', '', dice %% 128 = 5)
    ) AS told (seq, version, status, kind, capability, result, rule, there) WHERE there ORDER BY n, seq"""
_CHECKPOINTS: Final = """
    INSERT INTO agent_sessions_checkpoint (session_id, number, version, ended_version, attempt, step, method, outcome,
        code, started_at, due_at, ended_at)
    SELECT id, 1, 3, 4, 1, 'payment', 'card', outcome, CASE WHEN outcome = 'done' THEN ''
        WHEN n %% 40001 = 0 THEN 'bank_unreachable' WHEN n %% 3 = 0 THEN 'insufficient_funds' ELSE 'card_declined' END,
        at, at + interval '5 minutes', at + interval '4 seconds'
    FROM (SELECT *, CASE WHEN dice %% 50 = 1 AND luck < 0.9 THEN 'failed' ELSE 'done' END AS outcome FROM made) told
    WHERE outcome = 'failed' OR luck < 0.28 ORDER BY n"""
_HANDOFFS: Final = """
    INSERT INTO agent_sessions_checkouthandoff (id, session_id, merchant, consumer, family, version, token_digest,
        created_at, expires_at, ordered_at, closed_at, order_ref)
    SELECT id, id, 'default', '', id, 4, decode(lpad(to_hex(n), 64, '0'), 'hex'), at + interval '9 minutes',
        at + interval '3 hours', CASE WHEN ordered THEN at + interval '12 minutes' END,
        CASE WHEN ordered OR at < now() - interval '3 hours' THEN at + interval '12 minutes' END,
        CASE WHEN ordered THEN 'A-' || n ELSE '' END
    FROM (SELECT *, NOT live AND luck < 0.28 AS ordered FROM made) told WHERE luck < 0.36 ORDER BY n"""
_APPROVALS: Final = """
    INSERT INTO agent_sessions_approval (id, session_id, status, capability, rule, version, fingerprint, amount,
        currency, token_digest, attempts, requested_at, expires_at, decided_at, decided_by, used_at)
    SELECT id, id, CASE WHEN live THEN 'escalated' WHEN dice %% 4 = 0 THEN 'expired'
        WHEN dice %% 128 = 5 THEN 'rejected' ELSE 'used' END, 'checkout', 'large_orders', 3, '', 9900, 'EUR',
        decode(lpad(to_hex(n), 64, '0'), 'hex'), 0, at + interval '5 minutes', at + interval '35 minutes',
        CASE WHEN NOT live AND dice %% 4 > 0 THEN at + interval '5 minutes' + interval '20 minutes' * luck * luck END,
        '', NULL
    FROM made WHERE dice %% 40 = 5 ORDER BY n"""
_REFERENCES: Final = """
    INSERT INTO agent_sessions_sessionreference (session_id, ref)
    SELECT id, CASE WHEN live THEN '' ELSE 'past-' END || item FROM made, LATERAL (VALUES ('item:MUG-' || n %% 40),
        ('item:' || CASE WHEN n %% 90001 = 0 THEN 'RARE-1' ELSE 'TEA-' || n %% 3000 END)) AS told (item)
    WHERE at > now() - interval '31 days' ORDER BY n"""


def make_sessions(number: int) -> None:
    """Fill the empty tables with that many sessions and what hangs on them, without the guards of the history."""
    from django.db import connection, transaction

    from agent_sessions.models import SiteKey
    from agent_sessions.services.keys import active_site_key

    values: dict[str, Any] = {"sessions": number, "key": active_site_key(SiteKey.Purpose.TOKEN).pk}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(_MADE, values)
        for statement in (_SESSIONS, _EVENTS, _CHECKPOINTS, _HANDOFFS, _APPROVALS, _REFERENCES):
            cursor.execute(statement, values)
        cursor.execute("DROP TABLE made")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
