"""How much of a recording is believed: every bound that a file from a stranger meets.

A bound is part of format 1: what is written is checked against the same numbers as what is read,
so a file that can be written can be read. There is no bound of its own for a string or an array:
neither can be longer than the body it stands in, nor hold more items than the body may.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

HEADER_BYTES_MAX = 64 * KIB  # the body of the header: settings and names, never data
BODY_BYTES_MAX = 64 * MIB  # of one record, as stored and inflated alike; a keyframe is many records
BODY_ITEMS_MAX = (
    1 << 20
)  # an empty map costs 1 byte in the file and 72 in memory: count, then build
SEGMENT_ITEMS_MAX = 1 << 22  # one call between two keyframes may tell of every page it takes
PART_ITEMS_MAX = 1 << 23  # of a keyframe: rows of pages; 3 items a block, a few bytes each
PART_MAPS_MAX = 1 << 16  # modules and zones are maps, nothing else that there are many of
BODY_NESTING_MAX = 16  # twice what the payloads of format 1.0 need; a body may not nest for ever
KEY_BYTES_MAX = 255  # one length byte; a key answers "which one", the body says the rest
KIND_CHARS_MAX = 31  # what one msgpack fixstr holds, so that the place of every field is known
KINDS_MAX = 256  # different kinds in one file: one byte a record in the index

COMPRESS_BYTES_MIN = 128  # below this zlib's own 8 bytes and its time gain nothing
WRITE_BUFFER_BYTES = 256 * KIB  # handed to the system in one piece; what a kill can cost unsynced
SCAN_WINDOW_BYTES = MIB  # read at once while scanning
RESYNC_CANDIDATES_MAX = 16  # places checked after damage, each up to one whole body long
CACHE_BYTES_DEFAULT = 64 * MIB  # bodies kept inflated by one reader
