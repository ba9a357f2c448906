from __future__ import annotations

from django.apps import AppConfig


class ShopDemoConfig(AppConfig):
    name = "shop_demo"
    verbose_name = "shop"
    default_auto_field = "django.db.models.BigAutoField"
