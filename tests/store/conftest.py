from tests.store.calling import own, shop

__all__ = ["own", "shop"]
