"""The jobs, for Celery. Without it run the commands from cron; see docs/operations.md.

The only module of the package that needs Celery: ``pip install agent-sessions[celery]``.
"""

from __future__ import annotations

from dataclasses import asdict, astuple
from functools import partial

from agent_sessions import selectors, services

try:
    from celery import shared_task
except ModuleNotFoundError as error:
    if error.name != "celery":
        raise
    raise ImportError(
        "agent_sessions.tasks needs Celery, which is not installed. Install agent-sessions[celery], or run "
        "`manage.py expire_sessions` every minute from cron instead."
    ) from error


# Acknowledged when it is done, so that a job whose worker was killed is run again; it may run twice without harm.
_job = partial(shared_task, acks_late=True, reject_on_worker_lost=True)


@_job(name="agent_sessions.expire_sessions")
def expire_sessions(limit: int = 500) -> dict[str, int | bool]:
    """End what is past its deadline or whose key was revoked and seal what has ended, up to ``limit`` of each (L6).

    Recorded answers that are a day old are deleted, up to ten times as many (V7). Return numbers of sessions as
    ``ended``, ``sealed`` and ``failed``, of answers as ``purged``, and whether the limit left any ``remaining``, for
    the next run.
    """
    done = services.expire_sessions(limit=limit)
    stopped = max(done.ended, done.sealed, done.purged) >= limit
    return {**asdict(done), "remaining": stopped and any(astuple(selectors.due_sessions()))}


@_job(name="agent_sessions.expire_approvals")
def expire_approvals(limit: int = 500) -> dict[str, int | bool]:
    """Close up to ``limit`` approvals whose window has passed (L5).

    Return how many as ``expired``, and whether the limit left any ``remaining``, for the next run.
    """
    expired = services.expire_approvals(limit=limit)
    return {"expired": expired, "remaining": expired >= limit and bool(selectors.count_lapsed_approvals())}


@_job(name="agent_sessions.sequence_log")
def sequence_log(limit: int = 50_000) -> dict[str, int | bool]:
    """Append leaves for up to ``limit`` sessions that have moved, sign the log's head, and export it (A4).

    Return how many ``leaves`` were appended and how many are ``waiting`` for a head that the sinks have, and whether
    sessions are ``remaining`` for the next run.
    """
    done = services.sequence_log(limit=limit)
    return {"leaves": done.leaves, "waiting": done.waiting, "remaining": done.remaining}


@_job(name="agent_sessions.resolve_unknown_steps")
def resolve_unknown_steps(limit: int = 100) -> dict[str, int]:
    """Deal with up to ``limit`` steps that were started and not heard of again, by their rules (R2).

    Return numbers of steps as ``asked``, ``escalated``, ``left`` to whoever runs them again, ``late`` for a session
    that had ended, and ``failed``.
    """
    return services.resolve_unknown_steps(limit=limit)


@_job(name="agent_sessions.rewrap_keys")
def rewrap_keys(limit: int = 1000) -> dict[str, int]:
    """Wrap up to ``limit`` keys anew that an older master key wraps (A8); nothing to do unless one was rotated.

    Return how many were ``done``, are ``left``, and ``failed``.
    """
    return asdict(services.rewrap(limit=limit))


@_job(name="agent_sessions.release_expired_holds")
def release_expired_holds(limit: int = 500) -> dict[str, int | bool]:
    """Release up to ``limit`` holds whose deadline has passed (X1).

    Return how many as ``released``, and whether the limit left any ``remaining``, for the next run.
    """
    released = services.release_expired_holds(limit=limit)
    return {"released": released, "remaining": released >= limit and bool(selectors.count_due_holds())}


@_job(name="agent_sessions.purge_sessions")
def purge_sessions(limit: int = 500, pause: float = 1.0) -> dict[str, int | bool]:
    """Erase what its retention rule keeps no longer, up to ``limit`` sessions per rule (A5).

    ``pause`` is how long to rest after each batch, as a share of its time. Return numbers of sessions as ``erased``,
    ``held`` back by legal holds and ``failed``, and whether the limit left any ``remaining``, for the next run.
    """
    done = services.purge(limit=limit, pause=pause)
    return {"erased": done.erased, "held": done.held, "failed": done.failed, "remaining": done.remaining}


@_job(name="agent_sessions.finish_erasures")
def finish_erasures(limit: int = 10) -> dict[str, int]:
    """Go on with interrupted erasures of consumers, and erase what had to be kept until now, ``limit`` of each (A7).

    Return numbers of erasures as ``finished``, of which something is still ``left``, ``failed``, and ``overdue``.
    """
    return services.finish_erasures(limit=limit)


@_job(name="agent_sessions.remind_of_reviews")
def remind_of_reviews(limit: int = 100) -> dict[str, int]:
    """Remind of up to ``limit`` legal holds whose review is due (A6). Return how many as ``reminded``."""
    return {"reminded": services.remind_of_reviews(limit=limit)}


@_job(name="agent_sessions.mark_stale_sessions")
def mark_stale_sessions(limit: int = 500) -> dict[str, int | bool]:
    """Carry what the shop has reported as changed into the sessions that depend on it, up to ``limit`` of them (X2).

    Return numbers of ``changes`` that are done with, of ``sessions`` that were marked and that ``failed``, and whether
    any changes are ``remaining``, for the next run.
    """
    return asdict(services.mark_stale(limit=limit))
