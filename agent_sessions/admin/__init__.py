"""What support staff see of agent sessions, below Django's own admin. It only shows: nothing here writes."""

from django.contrib import admin

from agent_sessions.admin.sessions import SessionAdmin
from agent_sessions.models import Session

admin.site.register(Session, SessionAdmin)
