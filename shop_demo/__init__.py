"""A small shop that shows the package at work."""

# So that web processes and commands queue jobs through this app too. Without Celery the demo does without it.
try:
    from shop_demo.celery import app as celery_app
except ModuleNotFoundError as error:
    if error.name != "celery":
        raise
else:
    __all__ = ["celery_app"]
