"""The container of a recording (.kms): written while a machine runs, read lazily afterwards.

    RecordingWriter.create ─ append ─ sync ─ append ─ … ─ close
           header            record          record       index, trailer
                                    └ what came before a sync survives kill -9 and power cuts

    RecordingReader.open ─ records("Keyframe") ─ read(entry) ─ blob(name)
           header, index   no access at all      one record    one record

A file is only ever appended to. Reopening continues after the old index and trailer, which stay as
dead records; the newest trailer wins. One exception: a torn tail, which never was a record, is cut
off when a file is reopened. Many may read while one writes: a reader sees the complete records of
the moment when it opened the file. What goes into the records is decided elsewhere.
"""

from __future__ import annotations

from snapshots.container.record_index import RecordEntry
from snapshots.container.record_places import TornTail
from snapshots.container.recording_reader import RecordingReader
from snapshots.container.recording_writer import RecordingWriter, whole_recording

__all__ = ["RecordEntry", "RecordingReader", "RecordingWriter", "TornTail", "whole_recording"]
