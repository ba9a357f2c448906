from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from shop_demo import models

if TYPE_CHECKING:  # generic for the type checker only
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    ModelAdmin, TabularInline = admin.ModelAdmin, admin.TabularInline


class VariantInline(TabularInline):
    model = models.Variant
    extra = 0


class OrderLineInline(TabularInline):
    model = models.OrderLine
    extra = 0
    can_delete = False
    readonly_fields = ("variant", "sku", "title", "label", "quantity", "unit_price", "total")
    exclude = ("picture",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(models.Category)
class CategoryAdmin(ModelAdmin):
    list_display = ("title", "slug", "position")


@admin.register(models.Product)
class ProductAdmin(ModelAdmin):
    list_display = ("title", "category", "for_sale")
    list_filter = ("category", "for_sale")
    search_fields = ("title", "variants__sku")
    inlines = (VariantInline,)


@admin.register(models.Voucher)
class VoucherAdmin(ModelAdmin):
    list_display = ("code", "label", "percent", "amount_minor", "minimum_minor", "valid_from", "valid_until")


class ReadOnlyAdmin(ModelAdmin):
    """What the shop's own code writes, and nobody else."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(models.Order)
class OrderAdmin(ReadOnlyAdmin):
    list_display = ("ref", "status", "total", "currency", "created_at")
    list_filter = ("status",)
    search_fields = ("ref", "session_id", "email")
    inlines = (OrderLineInline,)


@admin.register(models.Payment)
class PaymentAdmin(ReadOnlyAdmin):
    list_display = ("key", "outcome", "code", "amount", "currency", "created_at")
    list_filter = ("outcome",)


@admin.register(models.ProviderCharge)
class ProviderChargeAdmin(ReadOnlyAdmin):
    list_display = ("key", "outcome", "code", "amount", "currency", "created_at")


@admin.register(models.ContactMessage)
class ContactMessageAdmin(ReadOnlyAdmin):
    list_display = ("reference", "reply_to", "created_at")
