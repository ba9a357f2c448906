"""What the demo shop sells: the goods that ``seed_shop`` puts into its tables. Prices are cents, tax included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sort:
    """One way a product is sold: its SKU, what tells it from the others, price and opening stock."""

    sku: str
    options: dict[str, str]
    price: int
    stock: int


@dataclass(frozen=True, slots=True)
class Good:
    """A product; its picture is ``shop_demo/products/<slug>.svg``."""

    slug: str
    title: str
    description: str
    sorts: tuple[Sort, ...]


@dataclass(frozen=True, slots=True)
class Shelf:
    slug: str
    title: str
    blurb: str
    goods: tuple[Good, ...]


@dataclass(frozen=True, slots=True)
class Coupon:
    """A voucher, either ``percent`` or ``amount`` off, for goods worth ``minimum`` or more."""

    code: str
    label: str
    days: tuple[int, int]
    """From when until when it holds, in days from the day of seeding."""
    percent: int | None = None
    amount: int | None = None
    minimum: int = 0


def _sizes(prefix: str, *sizes: tuple[str, int, int]) -> tuple[Sort, ...]:
    return tuple(
        Sort(f"{prefix}-{size.replace(' ', '').replace('.', '').upper()}", {"size": size}, price, stock)
        for size, price, stock in sizes
    )


def _glazes(prefix: str, *glazes: tuple[str, int, int]) -> tuple[Sort, ...]:
    return tuple(Sort(f"{prefix}-{glaze.upper()}", {"glaze": glaze}, price, stock) for glaze, price, stock in glazes)


SHELVES: Final = (
    Shelf(
        "green-tea",
        "Green tea",
        "Steamed or pan-fired within hours of picking; bright, grassy and gentle.",
        (
            Good(
                "sencha-first-harvest",
                "Sencha First Harvest",
                "Deep-steamed leaves from the first picking in Kagoshima. Tastes of young peas and sea breeze; brew at "
                "70 °C for one minute.",
                _sizes("SENCHA", ("50 g", 790, 40), ("100 g", 1450, 32), ("250 g", 3290, 12)),
            ),
            Good(
                "gyokuro-shade-grown",
                "Gyokuro Shade-Grown",
                "Three weeks under straw mats turn the leaf dark and sweet. Thick as broth at 55 °C, with a long "
                "finish of nori and cream.",
                _sizes("GYOKURO", ("50 g", 1690, 14), ("100 g", 3190, 6)),
            ),
            Good(
                "genmaicha",
                "Genmaicha with Toasted Rice",
                "Summer bancha and brown rice, roasted until some of the grains pop. Warm, nutty and kind to an empty "
                "stomach.",
                _sizes("GENMAI", ("100 g", 890, 50), ("250 g", 1990, 18)),
            ),
            Good(
                "jasmine-pearls",
                "Jasmine Pearls",
                "Hand-rolled pearls scented over six nights with fresh blossoms from Fuding. They open slowly in the "
                "glass; three infusions at least.",
                _sizes("JASMINE", ("50 g", 1190, 22), ("100 g", 2190, 9)),
            ),
        ),
    ),
    Shelf(
        "black-oolong",
        "Black tea & oolong",
        "Fully or partly oxidised leaves, from morning-strong to orchid-soft.",
        (
            Good(
                "darjeeling-second-flush",
                "Darjeeling Second Flush",
                "Picked in June above 1,600 metres. Muscat grape, honey and a dry edge; best without milk.",
                _sizes("DARJEEL", ("100 g", 1590, 24), ("250 g", 3590, 10)),
            ),
            Good(
                "assam-breakfast",
                "Assam Breakfast",
                "A golden-tipped estate tea that stands up to milk. Malt, dried fig and enough strength for Mondays.",
                _sizes("ASSAM", ("100 g", 690, 60), ("250 g", 1490, 35), ("500 g", 2690, 15)),
            ),
            Good(
                "smoked-pine-souchong",
                "Smoked Pine Souchong",
                "Withered over pine embers in the Wuyi mountains, the old way. Campfire on the nose, dark plum in the "
                "cup.",
                _sizes("SOUCHONG", ("100 g", 1290, 20)),
            ),
            Good(
                "iron-goddess-oolong",
                "Iron Goddess Oolong",
                "Tightly rolled leaves from Anxi, lightly roasted. Lilac and buttered toast; seven short infusions in "
                "a small pot.",
                _sizes("OOLONG", ("50 g", 990, 26), ("100 g", 1890, 11)),
            ),
        ),
    ),
    Shelf(
        "infusions",
        "Herbal infusions",
        "Flowers, fruit and leaves without caffeine, for the late hours.",
        (
            Good(
                "chamomile-meadow",
                "Chamomile Meadow",
                "Whole flower heads, dried in the shade. Honeyed and soft, with a little apple; let it stand for six "
                "minutes.",
                _sizes("CHAMOM", ("50 g", 590, 44), ("100 g", 1050, 20)),
            ),
            Good(
                "rooibos-orange",
                "Rooibos & Orange",
                "Long-cut red bush from the Cederberg with peel of ripe oranges. Round, bright and good on ice.",
                _sizes("ROOIBOS", ("100 g", 790, 38), ("250 g", 1690, 16)),
            ),
            Good(
                "garden-peppermint",
                "Garden Peppermint",
                "Mitcham mint, cut before it flowers and rubbed by hand. Cool enough to clear the head.",
                _sizes("MINT", ("50 g", 550, 40), ("100 g", 950, 25)),
            ),
            Good(
                "hibiscus-rosehip",
                "Hibiscus & Rosehip",
                "Ruby red and pleasantly sharp, from Nubian hibiscus and Baltic rosehips. Sweeten it, chill it, share "
                "it.",
                _sizes("HIBISC", ("100 g", 690, 33), ("250 g", 1490, 0)),
            ),
        ),
    ),
    Shelf(
        "pots-cups",
        "Pots & cups",
        "Thrown in small kilns, glazed by hand, made for every day.",
        (
            Good(
                "celadon-teapot",
                "Celadon Teapot",
                "Porcelain under a crackled jade glaze, with a spout that does not drip. Fired twice at 1,280 °C.",
                _sizes("CELADON", ("0.5 l", 6400, 7), ("0.9 l", 7900, 4)),
            ),
            Good(
                "side-handle-kyusu",
                "Side-Handle Kyusu",
                "The Japanese pot for green tea: a turn of the wrist and it pours. Unglazed inside, with a fine clay "
                "filter; holds 0.3 litres.",
                _glazes("KYUSU", ("terracotta", 4800, 8), ("charcoal", 4800, 5)),
            ),
            Good(
                "tenmoku-bowl",
                "Tenmoku Tea Bowl",
                "Iron-rich glaze that breaks into hare's fur towards the rim. No two are alike; this is the last one "
                "of its firing.",
                (Sort("TENMOKU-1", {}, 3900, 1),),
            ),
            Good(
                "everyday-mug",
                "Everyday Mug",
                "Stoneware for 0.3 litres with a handle that fits three fingers. Safe in the dishwasher and the "
                "microwave.",
                _glazes("MUG", ("sand", 1850, 30), ("sea", 1850, 24), ("moss", 1850, 0)),
            ),
            Good(
                "matcha-bowl",
                "Matcha Bowl Snow",
                "A wide white bowl with room for the whisk and a foot that stays cool. Drops of glaze like the first "
                "snow on stone.",
                (Sort("CHAWAN-SNOW", {}, 4200, 9),),
            ),
        ),
    ),
    Shelf(
        "tools",
        "Tools",
        "The few things that make it better, and none that do not.",
        (
            Good(
                "bamboo-whisk",
                "Bamboo Whisk",
                "Eighty tines split by hand from one piece of bamboo. Whisks matcha to a fine foam in twenty seconds.",
                (Sort("WHISK-80", {}, 1990, 16),),
            ),
            Good(
                "cherry-scoop",
                "Cherrywood Scoop",
                "Five grams of leaf, level. Turned from local cherry and oiled with walnut.",
                (Sort("SCOOP-CHERRY", {}, 1250, 28),),
            ),
            Good(
                "basket-infuser",
                "Basket Infuser",
                "A wide basket of fine steel gives the leaf room to open. The lid keeps the heat in and is a saucer "
                "afterwards.",
                _sizes("INFUSER", ("cup", 1390, 40), ("pot", 1690, 18)),
            ),
            Good(
                "washi-tea-tin",
                "Washi Tea Tin",
                "Two lids keep the air out and printed mulberry paper keeps it beautiful. For 100 grams of leaf.",
                tuple(
                    Sort(f"TIN-{pattern.upper()}", {"pattern": pattern}, 1490, stock)
                    for pattern, stock in (("waves", 20), ("arrows", 12))
                ),
            ),
            Good(
                "gooseneck-kettle",
                "Gooseneck Kettle",
                "Pours as slowly as you like and shows the temperature in its lid. Brushed steel, 0.8 litres, for "
                "every hob.",
                (Sort("KETTLE-08", {}, 8900, 6),),
            ),
        ),
    ),
)

COUPONS: Final = (
    Coupon("HARVEST10", "10 % off from €40", (-30, 365), percent=10, minimum=4000),
    Coupon("WELCOME5", "€5 welcome", (-30, 365), amount=500, minimum=1500),
    Coupon("SPRING20", "20 % spring offer", (-120, -30), percent=20),
)
