"""The shop's tables: what it sells, what was sold, and the books of the test payment provider."""

from shop_demo.models.catalogue import Category, Product, Variant, Voucher
from shop_demo.models.contact import ContactMessage
from shop_demo.models.ledger import ProviderCharge
from shop_demo.models.orders import Order, OrderLine, Payment

__all__ = [
    "Category",
    "ContactMessage",
    "Order",
    "OrderLine",
    "Payment",
    "Product",
    "ProviderCharge",
    "Variant",
    "Voucher",
]
