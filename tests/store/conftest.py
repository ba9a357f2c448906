from tests.store.calling import counting, own, shop

__all__ = ["counting", "own", "shop"]
