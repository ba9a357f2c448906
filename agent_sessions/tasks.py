"""The jobs, for Celery. Without it run the commands from cron; see docs/operations.md.

The only module of the package that needs Celery: ``pip install agent-sessions[celery]``.
"""

from __future__ import annotations

from dataclasses import asdict, astuple

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
@shared_task(name="agent_sessions.expire_sessions", acks_late=True, reject_on_worker_lost=True)
def expire_sessions(limit: int = 500) -> dict[str, int | bool]:
    """End what is past its deadline or whose key was revoked and seal what has ended, up to ``limit`` of each (L6).

    Recorded answers that are a day old are deleted, up to ten times as many (V7). Return numbers of sessions as
    ``ended``, ``sealed`` and ``failed``, of answers as ``purged``, and whether the limit left any ``remaining``, for
    the next run.
    """
    done = services.expire_sessions(limit=limit)
    stopped = max(done.ended, done.sealed, done.purged) >= limit
    return {**asdict(done), "remaining": stopped and any(astuple(selectors.due_sessions()))}


@shared_task(name="agent_sessions.expire_approvals", acks_late=True, reject_on_worker_lost=True)
def expire_approvals(limit: int = 500) -> dict[str, int | bool]:
    """Close up to ``limit`` approvals whose window has passed (L5).

    Return how many as ``expired``, and whether the limit left any ``remaining``, for the next run.
    """
    expired = services.expire_approvals(limit=limit)
    return {"expired": expired, "remaining": expired >= limit and bool(selectors.count_lapsed_approvals())}


@shared_task(name="agent_sessions.resolve_unknown_steps", acks_late=True, reject_on_worker_lost=True)
def resolve_unknown_steps(limit: int = 100) -> dict[str, int]:
    """Deal with up to ``limit`` steps that were started and not heard of again, by their rules (R2).

    Return numbers of steps as ``asked``, ``escalated``, ``left`` to whoever runs them again, ``late`` for a session
    that had ended, and ``failed``.
    """
    return services.resolve_unknown_steps(limit=limit)


@shared_task(name="agent_sessions.release_expired_holds", acks_late=True, reject_on_worker_lost=True)
def release_expired_holds(limit: int = 500) -> dict[str, int | bool]:
    """Release up to ``limit`` holds whose deadline has passed (X1).

    Return how many as ``released``, and whether the limit left any ``remaining``, for the next run.
    """
    released = services.release_expired_holds(limit=limit)
    return {"released": released, "remaining": released >= limit and bool(selectors.count_due_holds())}


@shared_task(name="agent_sessions.mark_stale_sessions", acks_late=True, reject_on_worker_lost=True)
def mark_stale_sessions(limit: int = 500) -> dict[str, int | bool]:
    """Carry what the shop has reported as changed into the sessions that depend on it, up to ``limit`` of them (X2).

    Return numbers of ``changes`` that are done with, of ``sessions`` that were marked and that ``failed``, and whether
    any changes are ``remaining``, for the next run.
    """
    return asdict(services.mark_stale(limit=limit))
