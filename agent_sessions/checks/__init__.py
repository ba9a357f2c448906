"""System checks: what is wrong or unsafe about an installation, and what to do about it (O3).

docs/settings.md has a row for each id.
"""

from agent_sessions.checks._http import check_deployment, check_http
from agent_sessions.checks._keys import check_database, check_keys
from agent_sessions.checks._log import check_log, check_log_leaves_the_database
from agent_sessions.checks._settings import check_retention, check_settings

__all__ = [
    "check_database",
    "check_deployment",
    "check_http",
    "check_keys",
    "check_log",
    "check_log_leaves_the_database",
    "check_retention",
    "check_settings",
]
