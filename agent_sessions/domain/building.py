"""When msgspec looks at the fields of a type.

It does so when the first value is read into it, and takes no lock: of two threads that come at the same time, one finds
the type half looked at, and the process ends with a segmentation fault (msgspec 0.22). A module is imported
by one thread, so that is where every type is made ready that values are read into: by a ``Decoder``, or by ``build``.
"""

from __future__ import annotations

import msgspec


def build(shape: type) -> None:
    """Have msgspec look at a type, and at those of its fields, now. For types that ``msgspec.convert`` is given."""
    msgspec.json.Decoder(shape)
