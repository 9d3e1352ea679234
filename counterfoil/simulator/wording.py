"""The shop's words: shelves, kinds of product, adjectives, brands, titles, queries. No numbers of behaviour."""

from dataclasses import dataclass

import numpy as np

# Shelf -> kinds of product. The second column is the typical price; the third, the repurchase cycle in days (0: none).
SHELVES: tuple[tuple[str, float, int, tuple[str, ...]], ...] = (
    ("Grocery > Coffee & Tea", 8, 21, ("espresso beans", "filter coffee", "green tea", "herbal tea", "cocoa", "iced tea")),
    ("Grocery > Pantry", 4, 28, ("pasta", "olive oil", "rice", "tomato sauce", "honey", "flour")),
    ("Grocery > Snacks", 3, 10, ("crackers", "chocolate", "trail mix", "crisps", "granola bar", "cookies")),
    ("Grocery > Dairy & Chilled", 4, 7, ("yoghurt", "cheddar", "butter", "oat drink", "hummus", "cream")),
    ("Household > Cleaning", 6, 35, ("dish soap", "laundry powder", "sponges", "glass cleaner", "bin bags", "bleach")),
    ("Household > Paper", 9, 24, ("kitchen roll", "toilet paper", "tissues", "napkins", "baking paper", "foil")),
    ("Beauty > Skin Care", 22, 45, ("face cream", "sunscreen", "serum", "lip balm", "hand cream", "cleanser")),
    ("Beauty > Hair Care", 14, 40, ("shampoo", "conditioner", "hair mask", "styling gel", "dry shampoo", "hair oil")),
    ("Pets > Dogs", 18, 21, ("dog food", "dog treats", "dog leash", "chew toy", "dog bed", "dog shampoo")),
    ("Pets > Cats", 15, 18, ("cat food", "cat litter", "scratching post", "cat treats", "cat tunnel", "cat bowl")),
    ("Home > Cookware", 45, 0, ("frying pan", "saucepan", "casserole", "wok", "baking tray", "kettle")),
    ("Home > Bedding", 60, 0, ("duvet", "pillow", "fitted sheet", "blanket", "mattress topper", "pillowcase")),
    ("Home > Lighting", 48, 0, ("table lamp", "floor lamp", "pendant light", "led strip", "desk lamp", "lantern")),
    ("Garden > Tools", 32, 0, ("secateurs", "garden hose", "rake", "spade", "watering can", "gloves")),
    ("Garden > Plants", 16, 0, ("lavender", "fern", "tomato seeds", "rose", "basil pot", "succulent")),
    ("Electronics > Audio", 110, 0, ("headphones", "speaker", "earbuds", "microphone", "turntable", "soundbar")),
    ("Electronics > Computing", 160, 0, ("keyboard", "mouse", "monitor", "laptop stand", "webcam", "usb hub")),
    ("Electronics > Photo", 210, 0, ("camera", "tripod", "lens", "memory card", "camera bag", "ring light")),
    ("Sports > Running", 70, 0, ("running shoes", "running shorts", "sports watch", "headband", "water bottle", "jacket")),
    ("Sports > Yoga", 34, 0, ("yoga mat", "yoga block", "leggings", "yoga strap", "bolster", "yoga towel")),
    ("Sports > Camping", 85, 0, ("tent", "sleeping bag", "camp stove", "backpack", "head torch", "cool box")),
    ("Fashion > Shoes", 80, 0, ("sneakers", "boots", "sandals", "loafers", "slippers", "heels")),
    ("Fashion > Outerwear", 120, 0, ("raincoat", "parka", "wool coat", "fleece", "gilet", "denim jacket")),
    ("Toys > Games", 28, 0, ("board game", "puzzle", "card game", "building blocks", "toy train", "doll")),
)  # fmt: skip
# Two words for each taste: one for each end. So an item's text tells of its vector, and cold items can be ranked by text.
ADJECTIVES = (
    ("rugged", "elegant"), ("organic", "classic"), ("compact", "grand"), ("colourful", "plain"),
    ("smart", "manual"), ("light", "heavy-duty"), ("luxury", "everyday"), ("nordic", "vintage"),
)  # fmt: skip
SYLLABLES = (
    "al",
    "bo",
    "ca",
    "du",
    "el",
    "fin",
    "ga",
    "ho",
    "ist",
    "ju",
    "ko",
    "lu",
    "mar",
    "nor",
    "ol",
    "pe",
)
BRANDS = 96
SELLERS = ("Harbour", "Northgate", "Mill Lane", "Old Bridge", "Greenway", "Station Road")
MAX_KINDS = 6


@dataclass(frozen=True, kw_only=True)
class Queries:
    """All queries that people type, sorted by type: what a query asks for is a type, and perhaps an adjective.

    Of each type, in order: its plain name, its misspelling, its name with each adjective. `adjective_Q` -1: none.
    """

    text_Q: tuple[str, ...]
    type_Q: np.ndarray
    adjective_Q: np.ndarray


def shelves(item_count: int) -> tuple[int, int]:
    """Return how many categories, and kinds in each, a shop of that many items has: at least four items of a kind."""
    kinds = min(MAX_KINDS, max(1, item_count // (4 * len(SHELVES))))
    return min(len(SHELVES), max(1, item_count // (4 * kinds))), kinds


def adjectives(tastes: int) -> tuple[str, ...]:
    """Return the adjectives in the order of their codes: 2 x taste for its upper end, and one more for its lower."""
    return tuple(word for pair in ADJECTIVES[:tastes] for word in pair)


def per_type(tastes: int) -> int:
    """Return how many queries ask for a type: its name, its misspelling, and its name with each adjective."""
    return 2 + 2 * tastes


def brand(number: int) -> str:
    """Return the name of a brand, the same for the same number."""
    first, second = divmod(number, len(SYLLABLES))
    return (
        SYLLABLES[second] + SYLLABLES[(first * 5 + second * 3 + 1) % len(SYLLABLES)] + SYLLABLES[first]
    ).capitalize()


def title(item: int, category: int, kind: int, adjective: int, maker: int) -> str:
    """Return an item's name for people."""
    words = ADJECTIVES[adjective // 2][adjective % 2]
    return f"{brand(maker)} {words} {SHELVES[category][3][kind]} {item % 997}"


def text(category: int, kind: int, first: int, second: int, quality: float) -> str:
    """Return an item's description: what it is, its two strongest traits, and what buyers say of its quality."""
    one, two = ADJECTIVES[first // 2][first % 2], ADJECTIVES[second // 2][second % 2]
    praise = ("Buyers often return it.", "Buyers find it fair.", "Buyers like it.", "Buyers love it.")
    shelf, _, _, kinds = SHELVES[category]
    grade = int(np.digitize(quality, (-1.0, 0.0, 1.0)))
    return f"A {one} and {two} {kinds[kind]} from our {shelf.split(' > ')[1].lower()} shelf. {praise[grade]}"


def misspelt(word: str) -> str:
    """Return `word` with its second and third letters swapped."""
    return word[0] + word[2] + word[1] + word[3:]


def queries(categories: int, kinds: int, tastes: int) -> Queries:
    """Return every query that people of this shop may type."""
    words = adjectives(tastes)
    texts: list[str] = []
    for _, _, _, names in SHELVES[:categories]:
        for name in names[:kinds]:
            texts += [name, misspelt(name), *(f"{word} {name}" for word in words)]
    types = categories * kinds
    return Queries(
        text_Q=tuple(texts),
        type_Q=np.repeat(np.arange(types, dtype=np.int32), per_type(tastes)),
        adjective_Q=np.tile(np.r_[-1, -1, np.arange(len(words))].astype(np.int32), types),
    )
