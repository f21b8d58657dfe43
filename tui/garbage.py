"""When Python looks for garbage: seldom, and never through what was loaded.

A run is millions of small tuples and hardly a cycle; a look through all of them takes a tenth of a second,
in which no frame is painted. What lives when this is called is no longer looked at, and looks are rare.
"""

from __future__ import annotations

import gc
from typing import Final

ALLOCATIONS: Final = 50_000  # between two looks at the youngest
YOUNG_LOOKS: Final = 20
MIDDLE_LOOKS: Final = 50


def collect_rarely() -> None:
    """Take what lives now out of the collector's sight and let it look seldom from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, YOUNG_LOOKS, MIDDLE_LOOKS)
