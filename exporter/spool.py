"""Trades on their way to the deck, on disk until the deck has them.

One directory holds one engine's spool: numbered segments of lines (`<crc32> <json>`), a cursor that says how
far the deck has them, a dead-letter file for what the deck refused, and a lock.

Promises:

    append     once it returns, the record survives the death of the process; it costs one write, no fsync
    sync       what was appended before survives the loss of power
    peek, ack  records come in the order of their appends; one that is not acked comes again, also after a
               restart.  A crash between the deck's answer and `ack` repeats records: the trade's id makes
               the repeat count once
    set_aside  a refused record is in the dead-letter file, synced, before it leaves the queue

A torn or damaged line is never sent: it goes to the dead-letter file and is counted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exporter.dead_letters import write_letter
from exporter.deck_errors import SpoolError

__all__ = ["Record", "Spool"]

SEGMENT_BYTES: Final = 4 * 1024 * 1024
READ_BYTES: Final = 1024 * 1024
CURSOR: Final = "cursor"
DEAD_LETTERS: Final = "dead-letters.jsonl"
LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class Record:
    """One spooled trade: its JSON, and where the next record starts."""

    body: bytes
    segment: int
    end: int


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    size: int
    waiting: int = 0
    """Records that are not acked."""


class Spool:
    """An append-only queue on disk for one process; safe to use from several threads."""

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open the spool, or make it, and find what the last process left.

        Raises:
            SpoolError: The directory cannot be made or written, or another process has it.
        """
        self.directory = directory
        self.cursor_fault: OSError | None = None
        """Why the cursor could not be written last; sent records would be sent again after a restart."""
        self.damaged = 0
        """Lines found torn or damaged, each kept in the dead-letter file."""
        self.restored = 0
        """How often files that were removed under the spool have been written again."""
        self.lost = 0
        """Records in files that were removed before they were open, or cut short, and so are gone."""
        self._segment_bytes = segment_bytes
        self._guard = threading.RLock()  # reentrant: a signal handler may append in the middle of an append
        self._dirty = False
        self._torn_tail = False
        self._segments: list[_Segment] = []
        self._fds: dict[int, int] = {}
        self._lock_fd = -1
        self._cursor_fd = -1
        try:
            self._open()
        except OSError as cause:
            self._close_files()
            if isinstance(cause, SpoolError):
                raise
            raise SpoolError(f"cannot open the spool {directory}: {cause}") from cause

    # -- opening ---------------------------------------------------------------------------------------

    def _open(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = self._lock()
        self._cursor_fd = os.open(self.directory / CURSOR, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        at_segment, at_offset = self._read_cursor()
        pending = 0
        for path in sorted(self.directory.glob("*.log")):
            segment = _Segment(int(path.stem), path, path.stat().st_size)
            start = at_offset if segment.number == at_segment else 0
            if segment.number < at_segment or (start and start >= segment.size):
                path.unlink()
                continue
            self._cut_torn_tail(segment)
            lines = self._count_lines(segment, start)
            if lines == 0:
                path.unlink()
                continue
            segment.waiting = lines
            self._segments.append(segment)
            pending += lines
        self._pending = pending
        first = self._segments[0].number if self._segments else at_segment + 1
        self._at = (first, at_offset if first == at_segment else 0)
        last = self._segments[-1].number if self._segments else at_segment
        self._start_segment(last + 1)

    def _lock(self) -> int:
        fd = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            owner = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            if not isinstance(cause, BlockingIOError):
                raise
            raise SpoolError(
                f"the spool {self.directory} is used by process {owner}: "
                "give each engine its own engine id or spool directory"
            ) from cause
        with contextlib.suppress(OSError):  # a full disk: the pid is only for the message above
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd

    def _read_cursor(self) -> tuple[int, int]:
        """Where the last process had got to; (0, 0), which repeats everything, if that is unreadable."""
        try:
            segment, offset = os.pread(self._cursor_fd, 64, 0).split()
            return int(segment), int(offset)
        except ValueError:
            return 0, 0

    def _cut_torn_tail(self, segment: _Segment) -> None:
        """Cut a last line that has no end, as a crash within a write leaves it."""
        with segment.path.open("rb+") as stream:
            back = min(segment.size, READ_BYTES)
            stream.seek(segment.size - back)
            tail = stream.read()
            torn = tail[tail.rfind(b"\n") + 1 :]
            if torn:
                self._keep_damaged(torn)
                segment.size -= len(torn)
                stream.truncate(segment.size)

    def _count_lines(self, segment: _Segment, start: int) -> int:
        count = 0
        with segment.path.open("rb") as stream:
            stream.seek(start)
            while chunk := stream.read(READ_BYTES):
                count += chunk.count(b"\n")
        return count

    def _start_segment(self, number: int) -> None:
        path = self.directory / f"{number:012d}.log"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        directory = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        with self._guard:  # the slow part is done: an append waits for two assignments, not for the disk
            self._fds[number] = fd
            self._segments.append(_Segment(number, path, 0))

    # -- writing ---------------------------------------------------------------------------------------

    def append(self, body: bytes) -> None:
        """Put one record at the end.

        Raises:
            SpoolError: The disk did not take it; nothing of it is left behind, the caller still has it.
        """
        line = b"%08x %b\n" % (zlib.crc32(body), body)
        with self._guard:
            active = self._segments[-1]
            fd = self._fds.get(active.number)
            if fd is None:
                raise SpoolError(f"the spool {self.directory} is closed")
            if self._torn_tail:
                line = b"\n" + line
            try:
                self._write(fd, active, line)
            except BaseException:
                # Ctrl-C may strike between the write and its book-keeping: what is in the file counts.
                self._count_what_was_written(fd, active, line)
                raise

    def _write(self, fd: int, active: _Segment, line: bytes) -> None:
        try:
            written = os.write(fd, line)
        except OSError as cause:
            raise SpoolError(f"cannot write to the spool {self.directory}: {cause}") from cause
        if written != len(line):
            self._undo_short_write(fd, active, written)
            raise SpoolError(f"cannot write to the spool {self.directory}: the disk took half a record")
        self._note_written(active, written)

    def _note_written(self, active: _Segment, written: int) -> None:
        self._torn_tail = False
        self._pending += 1
        active.waiting += 1
        self._dirty = True
        active.size += written  # last, and no call between these: by the size an interrupted append is judged

    def _count_what_was_written(self, fd: int, active: _Segment, line: bytes) -> None:
        try:
            grown = os.fstat(fd).st_size - active.size
        except OSError:  # closed by a signal handler, or a disk that fails: the first fault is told
            return
        if grown == len(line):
            self._note_written(active, grown)
        elif grown > 0:
            self._undo_short_write(fd, active, grown)

    def _undo_short_write(self, fd: int, active: _Segment, written: int) -> None:
        try:
            os.ftruncate(fd, active.size)
        except OSError:
            # The half record stays; the next one starts on its own line and a reader sets the damage aside.
            if written:
                active.size += written
                self._torn_tail = True
                self._pending += 1
                active.waiting += 1

    def sync(self) -> None:
        """Make what was appended before survive the loss of power.

        Raises:
            SpoolError: The disk refused; what was appended is still in the file for this machine's life.
        """
        self._restore()
        with self._guard:
            if not self._dirty:
                return
            self._dirty = False
            fd = self._fds[self._segments[-1].number]
        try:
            os.fsync(fd)  # outside the guard: an append must not wait for the disk
        except OSError as cause:
            self._dirty = True
            raise SpoolError(f"cannot sync the spool {self.directory}: {cause}") from cause
        self._roll()

    def _roll(self) -> None:
        """Start a new segment once the active one is large, so that sent ones can be removed."""
        active = self._segments[-1]
        if active.size < self._segment_bytes:
            return
        try:
            self._start_segment(active.number + 1)
            os.fsync(self._fds[active.number])  # for what was appended since `sync` looked
        except OSError:
            self._dirty = True  # a full disk: the old segment grows on

    # -- files that somebody removed -------------------------------------------------------------------

    def _restore(self) -> None:
        """Write again what was removed under us: while a file is open, its content is still there.

        A cleaner of old files, or a person, may take the directory; without names, what waits would end
        with this process.
        """
        with self._guard:  # appends wait: what they write must not go to a file that is being replaced
            if self._lock_fd < 0:
                return
            try:
                if all(os.fstat(fd).st_nlink for fd in self._named_fds()):
                    return
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._restore_lock_and_cursor()
                for segment in list(self._segments):
                    self._restore_segment(segment)
            except OSError as cause:
                if isinstance(cause, SpoolError):
                    raise
                raise SpoolError(f"cannot sync the spool {self.directory}: {cause}") from cause
            self.restored += 1

    def _named_fds(self) -> list[int]:
        return [self._lock_fd, self._cursor_fd, *self._fds.values()]

    def _restore_lock_and_cursor(self) -> None:
        if not os.fstat(self._lock_fd).st_nlink:
            lock_fd = self._lock()
            os.close(self._lock_fd)
            self._lock_fd = lock_fd
        if not os.fstat(self._cursor_fd).st_nlink:
            cursor_fd = os.open(self.directory / CURSOR, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.close(self._cursor_fd)
            self._cursor_fd = cursor_fd
            self._advance(*self._at)

    def _restore_segment(self, segment: _Segment) -> None:
        fd = self._fds.get(segment.number)
        if fd is None:
            if not segment.path.exists():
                self._give_up(segment)
            return
        if os.fstat(fd).st_nlink:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        copy = os.open(segment.path, flags, 0o600)
        try:
            offset = 0
            while piece := os.pread(fd, READ_BYTES, offset):
                offset += os.write(copy, piece)
        except OSError:
            os.close(copy)
            segment.path.unlink(missing_ok=True)
            raise
        self._fds[segment.number] = copy
        os.close(fd)
        self._dirty = True

    def _give_up(self, segment: _Segment) -> None:
        """Go on without a segment that is gone, or all that comes after it would wait for ever."""
        self._segments.remove(segment)
        if self._at[0] == segment.number:
            self._at = (self._segments[0].number, 0)
            self._advance(*self._at)
        self.lost += segment.waiting
        self._pending -= segment.waiting

    def _shrink(self, segment: _Segment, offset: int) -> None:
        """Go by what is in a file that somebody cut short, or all that comes after it would wait for ever."""
        fd = self._fds[segment.number]
        segment.size = os.fstat(fd).st_size
        if offset > segment.size:  # what is there was appended after the cut: it goes from the start
            offset = 0 if segment is self._segments[-1] else segment.size
            self._advance(segment.number, offset)
        there = 0
        tail = b"\n"
        at = offset
        while at < segment.size and (piece := os.pread(fd, min(READ_BYTES, segment.size - at), at)):
            there += piece.count(b"\n")
            tail = piece[-1:]
            at += len(piece)
        torn = tail != b"\n"
        there += torn  # half a record is set aside when it is read
        self._torn_tail = self._torn_tail or (torn and segment is self._segments[-1])
        self.lost += max(0, segment.waiting - there)
        self._pending += there - segment.waiting
        segment.waiting = there

    # -- reading ---------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Records the deck does not have yet."""
        return self._pending

    def peek(self, limit: int) -> list[Record]:
        """The oldest records that are not acked, at most `limit`; damaged lines are set aside on the way.

        Raises:
            SpoolError: The disk cannot be read, or the spool is closed.
        """
        try:
            while True:
                with self._guard:
                    self._check_open()
                    number, offset = self._at
                    segment = self._segments[0]
                    size = segment.size
                    more = len(self._segments) > 1
                if offset >= size:
                    if not more:
                        return []
                    self._drop_first_segment()
                    continue
                try:
                    records, skipped_to = self._read(segment, offset, size, limit)
                except FileNotFoundError:  # removed before it was read: what comes after it is not
                    with self._guard:
                        self._give_up(segment)
                    continue
                except EOFError:
                    with self._guard:
                        self._shrink(segment, offset)
                    continue
                if records:
                    return records
                self._advance(number, skipped_to)  # nothing but damage in this stretch
        except OSError as cause:
            if isinstance(cause, SpoolError):
                raise
            raise SpoolError(f"cannot read the spool {self.directory}: {cause}") from cause

    def _read(self, segment: _Segment, offset: int, size: int, limit: int) -> tuple[list[Record], int]:
        with self._guard:
            self._check_open()  # a file that is opened after the close would be closed by nobody
            fd = self._fds.get(segment.number)
            if fd is None:
                fd = self._fds[segment.number] = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        chunk = b""
        while b"\n" not in chunk and offset + len(chunk) < size:
            piece = os.pread(fd, min(READ_BYTES, size - offset - len(chunk)), offset + len(chunk))
            if not piece:
                raise EOFError(f"{segment.path} is shorter than it was: {size} bytes were written")
            chunk += piece
        self._check_open()  # closed in the middle, the number may have been another file's
        records: list[Record] = []
        at = 0
        while len(records) < limit and (end := chunk.find(b"\n", at)) >= 0:
            line = chunk[at:end]
            at = end + 1
            body = line[9:]
            if line[:9] == b"%08x " % zlib.crc32(body):
                records.append(Record(body, segment.number, offset + at))
            elif line:
                if records:
                    break  # good ones first; the damage is next when they are acked
                self._keep_damaged(line)
                self._forget(segment, 1)
                self._advance(segment.number, offset + at)
        if not at:  # half a record that the disk could not take back
            self._keep_damaged(chunk)
            self._forget(segment, 1)
            return [], size
        return records, offset + at

    def _check_open(self) -> None:
        if self._lock_fd < 0:
            raise SpoolError(f"the spool {self.directory} is closed")

    def ack(self, record: Record, count: int) -> None:
        """The deck has `count` records, `record` the last of them."""
        self._forget(self._segments[0], count)  # a segment goes only when all of it is acked
        self._advance(record.segment, record.end)

    def _forget(self, segment: _Segment, count: int) -> None:
        with self._guard:
            self._pending -= count
            segment.waiting -= count

    def _advance(self, number: int, offset: int) -> None:
        # No fsync, and a full disk is no fault: a cursor that is behind repeats trades after a restart, which
        # the deck counts once; it is never ahead.
        self._at = (number, offset)
        try:
            os.pwrite(self._cursor_fd, f"{number:012d} {offset:012d}\n".encode(), 0)
        except OSError as fault:
            self.cursor_fault = fault
        else:
            self.cursor_fault = None

    def reclaim(self) -> bool:
        """Give the disk back what sent records take in the active segment; False if some are not sent.

        For a disk that is full: otherwise a segment goes when it is large, or when the spool closes.

        Raises:
            SpoolError: The disk refused even that.
        """
        with self._guard:
            active = self._segments[-1]
            if self._pending or len(self._segments) > 1 or active.number not in self._fds:
                return False
            self._advance(active.number, 0)  # first: a cursor beyond the end would skip records
            try:
                os.ftruncate(self._fds[active.number], 0)
            except OSError as cause:
                raise SpoolError(f"cannot shrink the spool {self.directory}: {cause}") from cause
            active.size = 0
            self._torn_tail = False
            return True

    def _drop_first_segment(self) -> None:
        with self._guard:
            segment = self._segments.pop(0)
            following = self._segments[0].number
        self._advance(following, 0)
        fd = self._fds.pop(segment.number, None)
        if fd is not None:
            os.close(fd)
        segment.path.unlink(missing_ok=True)

    # -- dead letters ----------------------------------------------------------------------------------

    @property
    def dead_letters(self) -> Path:
        """The file of what the deck refused: one JSON object a line, the trade and the reason."""
        return self.directory / DEAD_LETTERS

    def set_aside(self, body: bytes | str, reason: dict[str, object]) -> None:
        """Keep what cannot be delivered, with the reason, for a person to look at.

        Raises:
            SpoolError: The disk did not take it; the caller must keep the record in the queue.
        """
        write_letter(self.dead_letters, body, reason)

    def _keep_damaged(self, line: bytes) -> None:
        self.set_aside(line, {"error": "damaged", "detail": "the line was torn or damaged on disk"})
        self.damaged += 1

    # -- closing ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Sync, release the lock, and leave no empty segment behind; what is pending stays on disk."""
        if self._pending:
            with contextlib.suppress(SpoolError):  # on a full disk the open file is all there is: sync that
                self._restore()
        with self._guard:
            if self._lock_fd < 0:
                return
            pending = self._pending
            fds = self._fds
            last = self._segments[-1]
        try:
            if pending:
                os.fsync(fds[last.number])
            else:
                for segment in self._segments:
                    segment.path.unlink(missing_ok=True)
        except OSError as cause:
            raise SpoolError(f"cannot sync the spool {self.directory}: {cause}") from cause
        finally:
            self._close_files()

    def abandon(self) -> None:
        """Let go of the files without touching them: the child of a fork must not sync or unlink."""
        self._guard = threading.RLock()  # a thread of the parent may have held it at the fork
        self._close_files()

    def _close_files(self) -> None:
        with self._guard:
            fds = [*self._fds.values(), self._cursor_fd, self._lock_fd]
            self._fds = {}
            self._cursor_fd = self._lock_fd = -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)
