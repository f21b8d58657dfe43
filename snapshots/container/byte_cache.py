"""The bytes used last, up to a budget; the one used longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class ByteCache:
    """A mapping to bytes that forgets. One piece larger than the whole budget is never kept."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._data: OrderedDict[Hashable, bytes] = OrderedDict()
        self.used_bytes = 0

    def find(self, name: Hashable) -> bytes | None:
        """Return what is kept under a name, and keep it longer."""
        data = self._data.get(name)
        if data is not None:
            self._data.move_to_end(name)
        return data

    def keep(self, name: Hashable, data: bytes) -> None:
        """Keep the bytes under a name, for as long as there is room."""
        if len(data) > self._budget_bytes:
            return
        self.used_bytes += len(data) - len(self._data.pop(name, b""))
        self._data[name] = data
        while self.used_bytes > self._budget_bytes:
            _, dropped = self._data.popitem(last=False)
            self.used_bytes -= len(dropped)
