"""The modules' room against a model that owns every byte one by one, and corners that only rules explain."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.errors import InvariantBroken, KernelBug
from kernel_sim.percpu.module_slots import ModuleSlots, alignment_line, exhausted_line

ROOM = 512


def slots_of(static: int = 96, room: int = ROOM, line: int = 32, word: int = 4) -> ModuleSlots:
    return ModuleSlots.for_room(
        room_bytes=room, static_bytes=static, line_bytes=line, word_bytes=word
    )


# -- a model that knows bytes only ---------------------------------------------------------------------


@dataclass
class ByteModel:
    """Who owns each byte of the room: 0 nobody, 1 the kernel, others a section."""

    owners: list[int]
    line: int
    word: int
    most_blocks: int = 2
    number: int = 1
    born: dict[int, int] = field(default_factory=dict)  # number -> offset

    def blocks(self) -> list[int]:
        return [
            -size if owner else size
            for owner, size in ((owner, len(list(run))) for owner, run in groupby(self.owners))
        ]

    def alloc(self, size: int, align: int) -> int | None:
        align = min(align, self.line)
        at = 0
        for owner, run in groupby(list(self.owners)):
            length = len(list(run))
            start = -(-at // align) * align
            if not owner and start + size <= at + length:
                end = at + length
                if end - (start + size) > self.word:
                    end = start + size
                self.number += 1
                self.owners[at:start] = [self.owners[at - 1]] * (start - at)
                self.owners[start:end] = [self.number] * (end - start)
                self.born[self.number] = start
                self.most_blocks = max(self.most_blocks, len(self.blocks()))
                return start
            at += length
        return None

    def free(self, number: int) -> None:
        del self.born[number]
        self.owners = [0 if owner == number else owner for owner in self.owners]

    @property
    def nr_allocated(self) -> int:
        return 1 << (self.most_blocks - 1).bit_length()


OPS = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 140), st.sampled_from([1, 2, 4, 8, 16, 32, 64])),
        st.integers(0, 60),
    ),
    max_size=60,
)


@given(OPS, st.sampled_from([4, 8]), st.sampled_from([16, 32]), st.integers(1, 300))
@settings(max_examples=150, deadline=None)
def test_every_byte_is_where_the_model_has_it(
    ops: list[tuple[int, int] | int], word: int, line: int, static: int
) -> None:
    slots = slots_of(static, line=line, word=word)
    kernel = -(-static // line) * line
    model = ByteModel([1] * kernel + [0] * (ROOM - kernel), line, word)
    for op in ops:
        if isinstance(op, tuple):
            assert slots.alloc(*op) == model.alloc(*op)
        elif model.born:
            number = list(model.born)[op % len(model.born)]
            slots.free(model.born[number])
            model.free(number)
        assert slots.sizes == model.blocks()
        assert slots.nr_allocated == model.nr_allocated
        slots.check(ROOM)
    for offset in list(model.born.values()):
        slots.free(offset)
    assert slots.sizes == [-kernel, ROOM - kernel]


# -- what the rules say --------------------------------------------------------------------------------


def test_the_mails_machine_has_14848_bytes_for_modules_not_14876() -> None:
    for line in (32, 64, 128):
        slots = slots_of(17892, 32768, line)
        assert slots.sizes == [-17920, 14848]
        assert slots.alloc(14849, 4) is None
        assert slots.alloc(14848, 4) == 17920


def test_alignment_is_paid_by_the_block_before_and_comes_back_with_it() -> None:
    slots = slots_of(17892, 32768, 128)
    assert slots.alloc(100, 4) == 17920
    assert slots.sizes == [-17920, -100, 14748]
    assert slots.alloc(64, 64) == 18048
    assert slots.sizes == [-17920, -128, -64, 14656]
    slots.free(17920)
    assert slots.sizes == [-17920, 128, -64, 14656]


@pytest.mark.parametrize("word", [4, 8])
def test_a_rest_of_a_word_stays_inside_and_one_byte_more_does_not(word: int) -> None:
    slots = slots_of(word=word)
    assert slots.alloc(416 - word, 1) == 96
    assert slots.sizes == [-96, -416]
    slots = slots_of(word=word)
    assert slots.alloc(416 - word - 1, 1) == 96
    assert slots.sizes == [-96, -(416 - word - 1), word + 1]


def test_more_alignment_than_a_cache_line_is_cut_down() -> None:
    slots = slots_of()
    assert slots.alloc(1, 1) == 96
    assert slots.align_of(4096) == 32
    assert slots.alloc(8, 4096) == 128


def test_a_section_that_fills_the_room_leaves_an_empty_block() -> None:
    slots = slots_of(ROOM)
    assert (slots.sizes, slots.has_room) == ([-ROOM, 0], True)
    assert slots.alloc(1, 1) is None
    slots.check(ROOM)


def test_a_section_beyond_the_room_leaves_modules_nothing() -> None:
    slots = slots_of(ROOM + 1)
    assert (slots.sizes, slots.nr_allocated, slots.has_room) == ([-(ROOM + 32)], 2, False)
    assert slots.alloc(1, 1) is None
    slots.check(ROOM)


def test_of_64_kib_and_more_the_lower_16_bits_are_entered() -> None:
    slots = slots_of(96, 1 << 18)
    assert slots.alloc(65536 + 100, 4) == 96
    assert slots.sizes == [-96, -100, (1 << 18) - 196]
    assert slots.alloc(8, 4) == 196  # inside what the first one was given
    slots = slots_of(96, 1 << 18)
    assert slots.alloc(65536, 4) == 96
    assert slots.sizes == [-96, 0, (1 << 18) - 96]  # in use, and looks empty


def test_the_array_is_doubled_for_an_entry_too_many_and_never_shrinks() -> None:
    slots = slots_of()
    seen = [(slots.doubled_bytes, slots.nr_allocated)]
    offsets = []
    for _ in range(4):
        offsets.append(slots.alloc(8, 8))
        seen.append((slots.doubled_bytes, slots.nr_allocated))
    assert seen == [(16, 2), (32, 4), (32, 4), (64, 8), (64, 8)]
    for offset in offsets:
        assert offset is not None
        slots.free(offset)
    assert (slots.sizes, slots.nr_allocated) == ([-96, 416], 8)


def test_without_memory_for_the_array_the_skipped_bytes_are_gone_already() -> None:
    slots = slots_of()
    assert slots.alloc(3, 1) == 96
    assert slots.alloc(5, 1) == 99
    assert slots.is_full
    fit = slots.find(8, 8)
    assert fit is not None and fit == (3, 0, 104)
    fit = slots.find(8, 32)
    assert fit is not None and fit == (3, 24, 128)
    slots.give_skipped(fit)
    assert slots.is_split_due(fit, 8) and slots.is_full  # and here kmalloc() fails
    assert slots.sizes == [-96, -3, -29, 384]
    slots.check(ROOM)


def test_a_free_of_what_begins_nowhere_is_a_bug() -> None:
    slots = slots_of()
    slots.alloc(16, 16)
    for offset in (0, 95, 97, ROOM):
        with pytest.raises(KernelBug, match="percpu_modfree"):
            slots.free(offset)


def test_a_second_free_puts_the_block_in_use_again_as_the_kernel_did() -> None:
    slots = slots_of()
    first, second, third = (slots.alloc(16, 16) for _ in range(3))
    assert (first, second, third) == (96, 112, 128)
    slots.free(112)
    slots.free(112)
    assert slots.sizes == [-96, -16, -16, -16, 368]


@pytest.mark.parametrize(
    ("sizes", "nr_allocated", "expected"),
    [
        ([96, 416], 2, "entry 0"),
        ([], 2, "entry 0"),
        ([-96, -16, 400], 2, "3 entries in an array of 2"),
        ([-96, -16, 401], 4, "513 bytes in 512"),
        ([-96], 2, "416 bytes have no block"),
        ([-96, 16, 400], 4, "1 and 2 touch"),
    ],
)
def test_a_contradiction_is_found(sizes: list[int], nr_allocated: int, expected: str) -> None:
    slots = slots_of()
    slots.sizes, slots.nr_allocated = sizes, nr_allocated
    with pytest.raises(InvariantBroken, match=expected):
        slots.check(ROOM)


def test_it_says_what_the_kernel_said() -> None:
    assert alignment_line("snd", 256, 64) == "snd: per-cpu alignment 256 > 64"
    assert exhausted_line(3000) == "Could not allocate 3000 bytes percpu data"
