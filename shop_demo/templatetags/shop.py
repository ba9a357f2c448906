from __future__ import annotations

from django import template

from shop_demo.money import euros as as_euros

register = template.Library()


@register.filter
def euros(cents: int) -> str:
    """``{{ amount|euros }}``: whole cents as €12.50."""
    return as_euros(cents)
