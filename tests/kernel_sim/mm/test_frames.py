"""Sparse memory beside a flat dict of bytes."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.page import PAGE_SIZE_BYTES

NR_PAGES = 4
LAST_BYTE = NR_PAGES * PAGE_SIZE_BYTES - 1
near_a_border = st.builds(
    lambda page, delta: max(0, page * PAGE_SIZE_BYTES + delta),
    st.integers(0, NR_PAGES - 1),
    st.integers(-20, 20),
)
places = near_a_border | st.integers(0, LAST_BYTE)


class FramesAgainstFlatBytes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.memory = PhysicalMemory()
        self.flat: dict[int, int] = {}
        self.changed_pages: dict[int, None] = {}

    def model_bytes(self, phys: int, nr_bytes: int) -> bytes:
        return bytes(self.flat.get(phys + index, 0) for index in range(nr_bytes))

    def model_write(self, phys: int, data: bytes) -> None:
        for index, byte in enumerate(data):
            if self.flat.get(phys + index, 0) != byte:
                self.changed_pages[(phys + index) // PAGE_SIZE_BYTES] = None
            self.flat[phys + index] = byte

    @rule(phys=places, data=st.binary(max_size=40) | st.integers(0, 40).map(bytes))
    def write(self, phys: int, data: bytes) -> None:
        self.memory.write(phys, data)
        self.model_write(phys, data)

    @rule(phys=places, value=st.integers(0, 2**64 - 1) | st.just(0))
    def write_word(self, phys: int, value: int) -> None:
        self.memory.write_u64(phys, value)
        self.model_write(phys, value.to_bytes(8, "little"))

    @rule(pfn=st.integers(0, NR_PAGES - 1), byte=st.integers(0, 255))
    def fill(self, pfn: int, byte: int) -> None:
        data = bytes([byte]) * PAGE_SIZE_BYTES
        self.memory.fill_page(pfn, data)
        self.model_write(pfn * PAGE_SIZE_BYTES, data)

    @rule(pfn=st.integers(0, NR_PAGES - 1))
    def clear(self, pfn: int) -> None:
        self.memory.clear_page(pfn)
        self.model_write(pfn * PAGE_SIZE_BYTES, bytes(PAGE_SIZE_BYTES))
        assert not self.memory.is_touched(pfn)

    @rule(phys=places, nr_bytes=st.integers(0, 2 * PAGE_SIZE_BYTES))
    def read(self, phys: int, nr_bytes: int) -> None:
        assert self.memory.read(phys, nr_bytes) == self.model_bytes(phys, nr_bytes)

    @rule(phys=places)
    def read_word(self, phys: int) -> None:
        assert self.memory.read_u64(phys) == int.from_bytes(self.model_bytes(phys, 8), "little")

    @rule()
    def take_changed(self) -> None:
        taken = self.memory.take_changed()
        assert list(taken) == sorted(taken)
        assert all(pfn in taken for pfn in self.changed_pages)
        assert self.memory.take_changed() == ()
        self.changed_pages.clear()

    @invariant()
    def untouched_pages_are_zeros(self) -> None:
        self.memory.check_invariants()
        for pfn in range(NR_PAGES):
            if not self.memory.is_touched(pfn):
                assert not any(self.model_bytes(pfn * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES))


TestFramesAgainstFlatBytes = FramesAgainstFlatBytes.TestCase
TestFramesAgainstFlatBytes.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None
)


def test_reading_and_writing_zeros_touch_nothing() -> None:
    memory = PhysicalMemory()
    assert memory.read(1 << 45, 3 * PAGE_SIZE_BYTES) == bytes(3 * PAGE_SIZE_BYTES)
    memory.write_u64(1 << 40, 0)
    memory.fill_page(7, bytes(PAGE_SIZE_BYTES))
    memory.clear_page(8)
    assert memory.frames == {}
    assert memory.take_changed() == ()


def test_writing_zeros_into_a_touched_page_changes_it() -> None:
    memory = PhysicalMemory()
    memory.write_u64(0x3000, 5)
    assert memory.take_changed() == (3,)
    memory.write_u64(0x3000, 0)
    assert memory.take_changed() == (3,)
    memory.clear_page(3)
    assert memory.take_changed() == (3,)


def test_a_page_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(InvariantBroken, match="page 0x5 wants 4096 bytes, got 4095"):
        PhysicalMemory().fill_page(5, bytes(4095))


def test_a_short_frame_is_found() -> None:
    memory = PhysicalMemory(frames={9: bytearray(10)})
    with pytest.raises(InvariantBroken, match="frame 0x9 has 10 bytes"):
        memory.check_invariants()


def test_a_word_may_lie_across_two_pages_touched_or_not() -> None:
    memory = PhysicalMemory()
    memory.write(0x2000, b"\x07")
    assert memory.read_u64(0x1FFC) == 7 << 32
    memory.write_u64(0x1FFC, 0x1122334455667788)
    assert memory.read(0x1FFC, 8) == bytes.fromhex("8877665544332211")
    assert memory.read_u64(0x1FFC) == 0x1122334455667788
