"""What the shop sells. Amounts are whole cents, tax included."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Upper
from django.urls import reverse


class Category(models.Model):
    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=80)
    blurb = models.CharField(max_length=200)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "title"]
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("shop:category", args=[self.slug])


class Product(models.Model):
    """Something in the catalogue; what is bought is one of its variants. ``picture`` is a path below static."""

    slug = models.SlugField(unique=True)
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="products")
    title = models.CharField(max_length=120)
    description = models.TextField()
    picture = models.CharField(max_length=200)
    for_sale = models.BooleanField(default=True)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["category__position", "position", "title"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("shop:product", args=[self.slug])

    @property
    def cheapest(self) -> int:
        """The lowest price of all variants; 0 without any."""
        return min((variant.price_minor for variant in self.variants.all()), default=0)

    @property
    def left(self) -> int:
        """How many pieces of all variants there are."""
        return sum(variant.stock for variant in self.variants.all())


class Variant(models.Model):
    """What can be bought. Agents know it by ``sku``; ``options`` tells it from its siblings: {"size": "250 g"}."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="variants")
    sku = models.CharField(max_length=40, unique=True)
    options = models.JSONField(default=dict, blank=True)
    price_minor = models.PositiveIntegerField()
    stock = models.PositiveIntegerField(default=0)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "price_minor"]
        constraints = [
            models.CheckConstraint(condition=models.Q(price_minor__gt=0), name="shop_variant_price_positive"),
            models.CheckConstraint(condition=models.Q(stock__gte=0), name="shop_variant_stock_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.product.title} ({self.label})" if self.label else self.product.title

    @property
    def label(self) -> str:
        """What tells the variant from its siblings, for people: ``250 g, tin``."""
        return ", ".join(str(value) for value in self.options.values())


class Voucher(models.Model):
    """Either ``percent`` of the goods or a fixed ``amount_minor`` off, from goods worth ``minimum_minor`` on."""

    code = models.CharField(max_length=40, unique=True, help_text="In capitals; people may type it in any case.")
    label = models.CharField(max_length=80)
    percent = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    amount_minor = models.PositiveIntegerField(null=True, blank=True)
    minimum_minor = models.PositiveIntegerField(default=0)
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField(help_text="The first moment at which it no longer holds.")

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(percent__range=(1, 100), amount_minor__isnull=True)
                | models.Q(percent__isnull=True, amount_minor__gt=0),
                name="shop_voucher_percent_or_amount",
            ),
            models.CheckConstraint(condition=models.Q(code=Upper("code")), name="shop_voucher_upper"),
        ]

    def __str__(self) -> str:
        return self.code
