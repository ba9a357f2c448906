from tests.store.calling import shop

__all__ = ["shop"]
