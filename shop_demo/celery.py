"""The demo's Celery app: ``celery -A shop_demo worker`` and ``celery -A shop_demo beat``.

Its configuration is every setting of Django that begins with ``CELERY_``.
"""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop_demo.settings")

app = Celery("shop_demo")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
