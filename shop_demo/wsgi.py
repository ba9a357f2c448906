"""The demo as a WSGI application, for servers such as gunicorn."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop_demo.settings")
application = get_wsgi_application()
