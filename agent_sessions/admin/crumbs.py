"""The way from the admin's first page to one of ours, for ``_breadcrumbs.html``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from agent_sessions.admin.sessions import SessionAdmin


def crumbs(model_admin: SessionAdmin, *below: tuple[str, str]) -> dict[str, Any]:
    """Return what a template needs of it: names and addresses, those ``below`` the list last; the page has none."""
    opts, site = model_admin.opts, model_admin.admin_site.name
    above = (
        (_("Home"), reverse(f"{site}:index")),
        (opts.app_config.verbose_name, reverse(f"{site}:app_list", args=[opts.app_label])),
        (capfirst(opts.verbose_name_plural), reverse(f"{site}:agent_sessions_session_changelist")),
    )
    # Django 6.1 made the breadcrumbs a list, and its styles are for one.
    return {"crumbs": [*above, *below], "crumbs_are_a_list": django.VERSION >= (6, 1)}
