"""What the ORM cannot say: rows without gaps, history that is not rewritten, and, on PostgreSQL, reading where a
session stands and the write itself.

The guards stand in for foreign keys of the history tables: version n (event n, message n) goes in only after n-1, the
first only after its session. They cost what the foreign keys would.

``agent_sessions_write_1`` is the one write path as one statement. A function and not a data-modifying CTE because its
plans are kept by the server whatever the host's database options are: with Django's default options it takes about
0.6 of the CTE's time. ``agent_sessions_head_1`` is the one query that every call begins with, a function for the same
reason. A later change of the tables adds functions with the next number and drops these a release later, so that two
releases can run side by side.
"""

from django.db import NotSupportedError, migrations

_TABLES = [
    # table, counter, columns that never change, columns that may only be emptied
    (
        "agent_sessions_sessionversion",
        "number",
        ["session_id", "number", "event_seq", "schema"],
        ["patch", "snapshot", "personal_patch", "personal_snapshot"],
    ),
    (
        "agent_sessions_auditevent",
        "seq",
        [
            "session_id", "created_at", "seq", "version", "response_status", "kind", "capability", "policy_result",
            "canonical",
        ],
        ["private"],
    ),
    (
        "agent_sessions_message",
        "number",
        ["session_id", "number", "role", "event_seq", "created_at"],
        ["body"],
    ),
]  # fmt: skip

# Which transaction wrote an event. The sequencer of the log asks for what was written since it last looked; commits
# appear out of order, transactions that have all ended do not. The index is of a few pages, since rows come in order.
_POSTGRES_XACT = """
ALTER TABLE agent_sessions_auditevent
    ADD COLUMN xact bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint);
CREATE INDEX ags_event_xact ON agent_sessions_auditevent USING brin (xact) WITH (pages_per_range = 16, autosummarize = on);
"""

# By which rule a call was refused, which only the bytes of the event say, so that staff find sessions by it. Refusals are
# few. The statistics keep the planner from taking a rule that refuses every day for a rare one.
_RULE = """substring(encode(canonical, 'escape') from '^.*"policy_rule":"([^"]*)"')"""
_POSTGRES_RULE = f"""
CREATE INDEX ags_event_rule ON agent_sessions_auditevent ({_RULE}, session_id) WHERE policy_result = 'deny';
CREATE STATISTICS ags_event_rules ON ({_RULE}) FROM agent_sessions_auditevent;
"""

# Site events and the log are only added to. Emptying a leaf's data is not erasing anything: it holds nothing personal.
_FIXED = ["agent_sessions_siteevent", "agent_sessions_logleaf", "agent_sessions_lognode"]

# The versions after ``p_version`` come along if the event ``p_seq`` has the hash that whoever asks remembers: then what
# it remembers is of this history, and it need not read more of it.
_POSTGRES_HEAD = """
CREATE FUNCTION agent_sessions_head_1(
    p_session uuid, p_seq integer, p_hash bytea, p_version integer,
    OUT status varchar, OUT kind varchar, OUT merchant varchar, OUT consumer varchar, OUT created_at timestamptz,
    OUT updated_at timestamptz, OUT expires_at timestamptz, OUT ended_at timestamptz, OUT end_reason varchar,
    OUT version integer, OUT version_uid uuid, OUT schema smallint, OUT snapshot_version integer, OUT patch_bytes bigint,
    OUT head_seq integer, OUT head_hash bytea, OUT token_digest bytea, OUT master_key_id varchar, OUT wrapped bytea,
    OUT agent_name varchar, OUT agent_version varchar, OUT agent_operator varchar, OUT agent_key varchar,
    OUT bound_to varchar, OUT held_by varchar, OUT paused_at timestamptz, OUT committed_version integer, OUT family uuid,
    OUT parent_request varchar, OUT scope text, OUT personal bytea, OUT revoked_at timestamptz, OUT others_hold boolean,
    OUT patches bytea[], OUT personal_patches bytea[]
) LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT s.status, s.kind, s.merchant, s.consumer, s.created_at,
        s.updated_at, s.expires_at, s.ended_at, s.end_reason,
        s.version, s.version_uid, s.schema, s.snapshot_version, s.patch_bytes,
        s.head_seq, s.head_hash, s.token_digest, k.master_key_id, k.wrapped,
        s.agent_name, s.agent_version, s.agent_operator, s.agent_key,
        s.bound_to, s.held_by, s.paused_at, s.committed_version, s.family,
        s.parent_request, s.scope::text, k.personal, t.revoked_at, EXISTS (
            SELECT 1 FROM agent_sessions_hold h
            WHERE h.merchant = s.merchant AND h.released_at IS NULL AND h.session_id <> s.id
        )
    INTO status, kind, merchant, consumer, created_at, updated_at, expires_at, ended_at, end_reason, version, version_uid,
        schema, snapshot_version, patch_bytes, head_seq, head_hash, token_digest, master_key_id, wrapped, agent_name,
        agent_version, agent_operator, agent_key, bound_to, held_by, paused_at, committed_version, family, parent_request,
        scope, personal, revoked_at, others_hold
    FROM agent_sessions_session s
    LEFT JOIN agent_sessions_sessionkey k ON k.session_id = s.id
    JOIN agent_sessions_sitekey t ON t.id = s.token_key_id
    WHERE s.id = p_session;
    IF version > p_version AND snapshot_version <= p_version AND personal IS NOT NULL THEN
        SELECT array_agg(v.patch ORDER BY v.number), array_agg(v.personal_patch ORDER BY v.number)
        INTO patches, personal_patches
        FROM agent_sessions_sessionversion v
        WHERE v.session_id = p_session AND v.number > p_version AND v.number <= version AND EXISTS (
            SELECT 1 FROM agent_sessions_auditevent e
            WHERE e.session_id = p_session AND e.seq = p_seq AND sha256(e.canonical) = p_hash
        )
        HAVING count(v.patch) = version - p_version AND bool_and(v.schema = agent_sessions_head_1.schema);
    END IF;
END $$;
"""

_POSTGRES_WRITE = """
CREATE FUNCTION agent_sessions_write_1(
    p_session uuid, p_head integer, p_head_hash bytea, p_version integer, p_now timestamptz, p_uid uuid, p_schema smallint,
    p_kind varchar, p_patch bytea, p_snapshot bytea, p_snapshot_version integer, p_patch_bytes bigint,
    p_canonical bytea, p_hash bytea, p_capability varchar, p_policy_result varchar, p_response_status smallint,
    p_private bytea, p_added varchar[], p_removed varchar[], p_personal_patch bytea, p_personal_snapshot bytea
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    gone varchar;
BEGIN
    -- First, because it decides the race and holds the row until the end of the transaction. The deadline is compared so
    -- that no index has it: a planner that knows nothing of the table yet would take all live sessions for one.
    IF p_version IS NULL THEN
        UPDATE agent_sessions_session s SET head_seq = p_head + 1, head_hash = p_hash,
            updated_at = p_now
        WHERE s.id = p_session
          AND s.head_seq = p_head AND s.head_hash = p_head_hash AND s.status IN ('active', 'paused')
          AND s.expires_at - p_now > interval '0'
          AND EXISTS (SELECT 1 FROM agent_sessions_sitekey k WHERE k.id = s.token_key_id AND k.revoked_at IS NULL)
          AND EXISTS (SELECT 1 FROM agent_sessions_sessionkey d WHERE d.session_id = s.id);
    ELSE
        UPDATE agent_sessions_session s SET head_seq = p_head + 1, head_hash = p_hash,
            version = p_version, version_uid = p_uid, updated_at = p_now, schema = p_schema,
            snapshot_version = p_snapshot_version, patch_bytes = p_patch_bytes
        WHERE s.id = p_session AND s.version = p_version - 1
          AND s.head_seq = p_head AND s.head_hash = p_head_hash AND s.status = 'active'
          AND s.expires_at - p_now > interval '0'
          AND EXISTS (SELECT 1 FROM agent_sessions_sitekey k WHERE k.id = s.token_key_id AND k.revoked_at IS NULL)
          AND EXISTS (SELECT 1 FROM agent_sessions_sessionkey d WHERE d.session_id = s.id);
    END IF;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF p_version IS NOT NULL THEN
        INSERT INTO agent_sessions_sessionversion
            (session_id, number, event_seq, schema, patch, snapshot, personal_patch, personal_snapshot)
        VALUES (p_session, p_version, p_head + 1, p_schema, p_patch, p_snapshot, p_personal_patch,
                p_personal_snapshot);
        -- One by one, since of an array the planner looks through all that the session refers to.
        FOREACH gone IN ARRAY coalesce(p_removed, '{}') LOOP
            DELETE FROM agent_sessions_sessionreference WHERE session_id = p_session AND ref = gone;
        END LOOP;
        IF p_added IS NOT NULL THEN
            INSERT INTO agent_sessions_sessionreference (session_id, ref)
            SELECT p_session, added FROM unnest(p_added) AS added ON CONFLICT DO NOTHING;
        END IF;
    END IF;
    INSERT INTO agent_sessions_auditevent
        (session_id, created_at, seq, version, response_status, kind, capability, policy_result, canonical, private)
    VALUES (p_session, p_now, p_head + 1, p_version, p_response_status, p_kind, p_capability, p_policy_result,
            p_canonical, p_private);
    RETURN true;
END $$;
"""


def _postgres(table, counter, fixed, erasable):
    changed = " OR ".join(f"NEW.{name} IS DISTINCT FROM OLD.{name}" for name in fixed)
    changed += "".join(f" OR (NEW.{c} IS NOT NULL AND NEW.{c} IS DISTINCT FROM OLD.{c})" for c in erasable)
    return [
        f"""
        CREATE FUNCTION {table}_in_order() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.{counter} = 1 THEN
                IF NOT EXISTS (SELECT 1 FROM agent_sessions_session WHERE id = NEW.session_id) THEN
                    RAISE foreign_key_violation USING MESSAGE = '{table}: there is no session ' || NEW.session_id;
                END IF;
            ELSIF NOT EXISTS (
                SELECT 1 FROM {table} WHERE session_id = NEW.session_id AND {counter} = NEW.{counter} - 1
            ) THEN
                RAISE check_violation USING MESSAGE = '{table}: {counter} ' || NEW.{counter} || ' would leave a gap';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER {table}_in_order BEFORE INSERT ON {table}
            FOR EACH ROW EXECUTE FUNCTION {table}_in_order();
        CREATE FUNCTION {table}_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE check_violation USING MESSAGE = '{table}: what is written is not written again';
        END $$;
        CREATE TRIGGER {table}_fixed BEFORE UPDATE ON {table}
            FOR EACH ROW WHEN ({changed}) EXECUTE FUNCTION {table}_fixed();
        """
    ]


def _sqlite(table, counter, fixed, erasable):
    changed = " OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in fixed)
    changed += "".join(f" OR (NEW.{c} IS NOT NULL AND NEW.{c} IS NOT OLD.{c})" for c in erasable)
    return [
        f"""
        CREATE TRIGGER {table}_in_order BEFORE INSERT ON {table} WHEN NOT CASE
            WHEN NEW.{counter} = 1 THEN EXISTS (SELECT 1 FROM agent_sessions_session WHERE id = NEW.session_id)
            ELSE EXISTS (SELECT 1 FROM {table} WHERE session_id = NEW.session_id AND {counter} = NEW.{counter} - 1)
            END
        BEGIN SELECT RAISE(ABORT, '{table}: {counter} would leave a gap, or there is no such session'); END
        """,
        f"""
        CREATE TRIGGER {table}_fixed BEFORE UPDATE ON {table} WHEN {changed}
        BEGIN SELECT RAISE(ABORT, '{table}: what is written is not written again'); END
        """,
    ]


def _postgres_fixed(table):
    return f"""
        CREATE FUNCTION {table}_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE check_violation USING MESSAGE = '{table}: what is written is not written again';
        END $$;
        CREATE TRIGGER {table}_fixed BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_fixed();
        """


def _sqlite_fixed(table):
    return f"""
        CREATE TRIGGER {table}_fixed BEFORE UPDATE ON {table}
        BEGIN SELECT RAISE(ABORT, '{table}: what is written is not written again'); END
        """


_GUARDS = {"postgresql": _postgres, "sqlite": _sqlite}
_FIXED_GUARDS = {"postgresql": _postgres_fixed, "sqlite": _sqlite_fixed}


def add(apps, schema_editor):
    vendor = schema_editor.connection.vendor
    if vendor not in _GUARDS:
        raise NotSupportedError(f"agent_sessions works on PostgreSQL and SQLite, not on {vendor}.")
    with schema_editor.connection.cursor() as cursor:
        for table in _TABLES:
            for statement in _GUARDS[vendor](*table):
                cursor.execute(statement)
        for name in _FIXED:
            cursor.execute(_FIXED_GUARDS[vendor](name))
        if vendor == "postgresql":
            cursor.execute(_POSTGRES_XACT)
            cursor.execute(_POSTGRES_RULE)
            cursor.execute(_POSTGRES_HEAD)
            cursor.execute(_POSTGRES_WRITE)
            # Small updates of the session row stay on its page, next to the old one, and touch no index.
            cursor.execute("ALTER TABLE agent_sessions_session SET (fillfactor = 70)")


def remove(apps, schema_editor):
    vendor = schema_editor.connection.vendor
    with schema_editor.connection.cursor() as cursor:
        for table, *_ in _TABLES:
            for guard in ("in_order", "fixed"):
                if vendor == "postgresql":
                    cursor.execute(f"DROP TRIGGER {table}_{guard} ON {table}; DROP FUNCTION {table}_{guard}()")
                elif vendor == "sqlite":
                    cursor.execute(f"DROP TRIGGER {table}_{guard}")
        for name in _FIXED:
            if vendor == "postgresql":
                cursor.execute(f"DROP TRIGGER {name}_fixed ON {name}; DROP FUNCTION {name}_fixed()")
            elif vendor == "sqlite":
                cursor.execute(f"DROP TRIGGER {name}_fixed")
        if vendor == "postgresql":
            cursor.execute("DROP STATISTICS ags_event_rules")
            cursor.execute("DROP INDEX ags_event_rule")
            cursor.execute("ALTER TABLE agent_sessions_auditevent DROP COLUMN xact")
            cursor.execute("DROP FUNCTION agent_sessions_head_1")
            cursor.execute("DROP FUNCTION agent_sessions_write_1")
            cursor.execute("ALTER TABLE agent_sessions_session RESET (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [("agent_sessions", "0001_initial")]
    operations = [migrations.RunPython(add, remove)]
