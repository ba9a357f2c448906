"""The demo project with the tests' keys, its jobs every second, and queues that no other run shares."""

from shop_demo.settings import *  # noqa: F403
from shop_demo.settings import CELERY_BEAT_SCHEDULE, env
from tests.settings import AGENT_SESSIONS as AGENT_SESSIONS

DEBUG = False
CELERY_BEAT_SCHEDULE = {name: {**entry, "schedule": 1.0} for name, entry in CELERY_BEAT_SCHEDULE.items()}
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": env("QUEUE_PREFIX")}
