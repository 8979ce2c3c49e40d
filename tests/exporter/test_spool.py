"""The spool on disk: order, acknowledgement, torn lines, and what the next process finds."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.deck_errors import SpoolError
from exporter.spool import Record, Spool


def body(number: int) -> bytes:
    return json.dumps({"trade_id": f"t{number}"}).encode()


def bodies(records: list[Record]) -> list[bytes]:
    return [record.body for record in records]


@contextmanager
def opened(place: Path, **settings: int) -> Iterator[Spool]:
    spool = Spool(place, **settings)
    try:
        yield spool
    finally:
        spool.close()


def abandon(spool: Spool) -> None:
    """Let go as a killed process would: nothing synced, nothing tidied."""
    spool.abandon()


def test_records_come_back_in_the_order_they_were_appended(tmp_path: Path) -> None:
    """A queue, not a bag."""
    with opened(tmp_path / "spool") as spool:
        for number in range(5):
            spool.append(body(number))
        assert bodies(spool.peek(3)) == [body(0), body(1), body(2)]
        assert spool.pending == 5


@pytest.mark.parametrize("taken", [None, 7])
def test_ctrl_c_in_the_middle_of_an_append_costs_no_record_that_comes_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int | None
) -> None:
    """The interrupt strikes after the write, whole or short, and before its book-keeping."""
    write = os.write

    def struck(fd: int, line: bytes) -> int:
        write(fd, line[:taken])
        raise KeyboardInterrupt

    with opened(tmp_path / "spool") as spool:
        spool.append(body(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", struck)
            with pytest.raises(KeyboardInterrupt):
                spool.append(body(1))
        spool.append(body(2))
        there = [body(0), body(1), body(2)] if taken is None else [body(0), body(2)]
        assert bodies(spool.peek(9)) == there
        assert (spool.pending, spool.damaged) == (len(there), 0)


def test_a_close_in_the_middle_of_an_append_is_a_spool_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler that closes the client interrupts the very push it makes impossible."""
    spool = Spool(tmp_path / "spool")

    def closed(fd: int, line: bytes) -> int:
        spool.close()
        raise OSError(errno.EBADF, "Bad file descriptor")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", closed)
        with pytest.raises(SpoolError, match="Bad file descriptor"):
            spool.append(body(0))


def test_a_fork_in_the_middle_of_an_append_does_not_hang_the_child(tmp_path: Path) -> None:
    """The child's copy of the lock is held by a thread it does not have."""
    spool = Spool(tmp_path / "spool")
    held = threading.Event()
    done = threading.Event()

    def hold() -> None:
        with spool._guard:
            held.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = threading.Thread(target=spool.abandon, daemon=True)  # what the child does after the fork
    child.start()
    child.join(2)
    hung = child.is_alive()
    done.set()
    holder.join()
    child.join()
    assert not hung


def test_a_spool_that_is_removed_under_its_process_is_written_again(tmp_path: Path) -> None:
    """A cleaner of old files took the directory; the process dies later, and the next finds what waited."""
    place = tmp_path / "spool"
    spool = Spool(place, segment_bytes=60)
    for number in range(6):
        spool.append(body(number))
        spool.sync()
    spool.ack(spool.peek(1)[-1], 1)
    shutil.rmtree(place)
    spool.append(body(6))
    spool.sync()
    assert (spool.restored, spool.lost) == (1, 0)
    with pytest.raises(SpoolError, match="is used by process"):
        Spool(place)
    spool.append(body(7))
    abandon(spool)
    with opened(place) as after:
        found = []
        while records := after.peek(3):
            found += bodies(records)
            after.ack(records[-1], len(records))
        assert found == [body(number) for number in range(1, 8)]


def test_a_removed_spool_is_written_again_at_the_close(tmp_path: Path) -> None:
    """The last moment at which it can be."""
    spool = Spool(tmp_path / "spool")
    spool.append(body(0))
    shutil.rmtree(tmp_path / "spool")
    spool.close()
    with opened(tmp_path / "spool") as after:
        assert bodies(after.peek(9)) == [body(0)]


def test_what_was_removed_before_it_was_read_is_counted_and_holds_nothing_back(tmp_path: Path) -> None:
    """An earlier process's file was not open: it is gone, what comes after it is not."""
    with opened(tmp_path / "spool") as first:
        first.append(body(0))
        first.append(body(1))
    with opened(tmp_path / "spool") as second:
        shutil.rmtree(tmp_path / "spool")
        second.append(body(2))
        second.sync()
        assert (second.lost, second.pending) == (2, 1)
        assert bodies(second.peek(9)) == [body(2)]


def drained(spool: Spool) -> list[bytes]:
    """Everything that waits, acked as the deck's answers would."""
    found: list[bytes] = []
    while records := spool.peek(3):
        found += bodies(records)
        spool.ack(records[-1], len(records))
    return found


def left_by_earlier_processes(place: Path) -> list[Path]:
    """Two segments of five records each."""
    for process in range(2):
        with opened(place) as spool:
            for number in range(5):
                spool.append(body(10 * process + number))
    return sorted(place.glob("*.log"))


@pytest.mark.parametrize("which", [0, 1])
def test_one_file_that_is_removed_before_it_is_read_holds_nothing_back(tmp_path: Path, which: int) -> None:
    """The directory is there, one file of it is not: that one is counted, the others go."""
    files = left_by_earlier_processes(tmp_path / "spool")
    with opened(tmp_path / "spool") as spool:
        files[which].unlink()
        spool.append(body(99))
        assert drained(spool) == [*(body(10 * (1 - which) + number) for number in range(5)), body(99)]
        assert (spool.lost, spool.pending) == (5, 0)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("lines", [0.0, 2.0, 2.5])
def test_a_file_that_is_cut_short_gives_what_is_left_and_holds_nothing_back(
    tmp_path: Path, which: int, lines: float
) -> None:
    """What was cut off is counted, half a record is set aside, the rest goes."""
    files = left_by_earlier_processes(tmp_path / "spool")
    with opened(tmp_path / "spool") as spool:
        os.truncate(files[which], int(files[which].stat().st_size / 5 * lines))
        spool.append(body(99))
        want = [[body(10 * process + number) for number in range(5)] for process in range(2)]
        want[which] = want[which][: int(lines)]
        assert drained(spool) == [*want[0], *want[1], body(99)]
        assert (spool.damaged, spool.lost) == ((1, 2) if lines == 2.5 else (0, 5 - lines))
        assert spool.pending == 0


@pytest.mark.parametrize("acked", [0, 3])
@pytest.mark.parametrize("later", [0, 1, 9])
def test_the_active_file_cut_to_nothing_takes_and_gives_what_comes_after(
    tmp_path: Path, acked: int, later: int
) -> None:
    """As a shell's `>` does; the spool goes on in the same file, over a restart too."""
    spool = Spool(tmp_path / "spool")
    for number in range(5):
        spool.append(body(number))
    if acked:
        spool.ack(spool.peek(acked)[-1], acked)
    (file,) = (tmp_path / "spool").glob("*.log")
    os.truncate(file, 0)
    if later == 1:
        spool.append(body(5))
    assert drained(spool) == [body(5)] * (later == 1)
    assert (spool.lost, spool.pending) == (5 - acked, 0)
    for number in range(10, 10 + later):
        spool.append(body(number))
    abandon(spool)
    with opened(tmp_path / "spool") as after:
        assert drained(after) == [body(number) for number in range(10, 10 + later)]


def test_the_active_file_cut_in_a_record_does_not_spoil_the_next(tmp_path: Path) -> None:
    """Once the cut is seen the next record starts on its own line."""
    with opened(tmp_path / "spool") as spool:
        for number in range(3):
            spool.append(body(number))
        (file,) = (tmp_path / "spool").glob("*.log")
        os.truncate(file, file.stat().st_size - 30)
        assert drained(spool) == [body(0)]
        spool.append(body(3))
        assert drained(spool) == [body(3)]
        assert (spool.damaged, spool.lost, spool.pending) == (1, 1, 0)


def test_an_older_file_of_this_process_is_written_again_too(tmp_path: Path) -> None:
    """A cleaner takes the oldest first; it is open here, so nothing of it is lost."""
    spool = Spool(tmp_path / "spool", segment_bytes=60)
    for number in range(6):
        spool.append(body(number))
        spool.sync()
    min((tmp_path / "spool").glob("*.log")).unlink()
    spool.sync()
    assert (spool.restored, spool.lost) == (1, 0)
    abandon(spool)
    with opened(tmp_path / "spool") as after:
        assert drained(after) == [body(number) for number in range(6)]


def test_a_lock_that_is_removed_is_taken_again(tmp_path: Path) -> None:
    """A cleaner takes the oldest file first; two processes must not share a spool for that."""
    with opened(tmp_path / "spool") as spool:
        (tmp_path / "spool" / "lock").unlink()
        spool.sync()
        with pytest.raises(SpoolError, match="is used by process"):
            Spool(tmp_path / "spool")


def test_an_acked_record_does_not_come_again_and_the_next_does(tmp_path: Path) -> None:
    """The cursor moves by what was acked, no more."""
    with opened(tmp_path / "spool") as spool:
        for number in range(5):
            spool.append(body(number))
        first = spool.peek(2)
        spool.ack(first[-1], 2)
        assert bodies(spool.peek(10)) == [body(2), body(3), body(4)]
        assert spool.pending == 3


def test_a_killed_process_leaves_every_unacked_record_to_the_next(tmp_path: Path) -> None:
    """Nothing appended is lost, nothing acked is repeated, though nobody closed the spool."""
    spool = Spool(tmp_path / "spool")
    for number in range(5):
        spool.append(body(number))
    spool.ack(spool.peek(2)[-1], 2)
    abandon(spool)
    with opened(tmp_path / "spool") as after:
        assert after.pending == 3
        assert bodies(after.peek(10)) == [body(2), body(3), body(4)]


def test_a_process_killed_with_sigkill_leaves_its_records(tmp_path: Path) -> None:
    """The real thing: kill -9 right after `append` returns."""
    script = (
        "import os, signal, sys; from pathlib import Path; from exporter.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]))\n"
        'for n in range(200): spool.append(b\'{"trade_id": "t%d"}\' % n)\n'
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "spool")], check=False)
    assert ended.returncode == -signal.SIGKILL
    with opened(tmp_path / "spool") as spool:
        assert bodies(spool.peek(500)) == [body(number) for number in range(200)]


def test_a_torn_last_line_is_kept_apart_and_the_rest_is_sent(tmp_path: Path) -> None:
    """A write cut short by a crash costs that line's place in the queue, not the spool."""
    spool = Spool(tmp_path / "spool")
    spool.append(body(0))
    spool.append(body(1))
    abandon(spool)
    (segment,) = sorted((tmp_path / "spool").glob("*.log"))
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-2])
    with opened(tmp_path / "spool") as after:
        assert bodies(after.peek(10)) == [body(0)]
        assert after.damaged == 1
        kept = json.loads(after.dead_letters.read_text())
        assert kept["error"] == "damaged"
        assert "t1" in kept["trade"]


def test_a_damaged_line_in_the_middle_is_kept_apart_and_its_neighbours_are_sent(tmp_path: Path) -> None:
    """One flipped bit must neither be sent as a trade nor stop the ones behind it."""
    spool = Spool(tmp_path / "spool")
    for number in range(3):
        spool.append(body(number))
    abandon(spool)
    (segment,) = sorted((tmp_path / "spool").glob("*.log"))
    segment.write_bytes(segment.read_bytes().replace(b'"t1"', b'"t7"'))
    with opened(tmp_path / "spool") as after:
        first = after.peek(10)
        assert bodies(first) == [body(0)]
        after.ack(first[-1], 1)
        rest = after.peek(10)
        assert bodies(rest) == [body(2)]
        after.ack(rest[-1], 1)
        assert (after.pending, after.damaged, after.peek(10)) == (0, 1, [])


def test_an_unreadable_cursor_repeats_records_rather_than_losing_one(tmp_path: Path) -> None:
    """The trade's id makes a repeat harmless; nothing makes a loss harmless."""
    spool = Spool(tmp_path / "spool")
    for number in range(3):
        spool.append(body(number))
    spool.ack(spool.peek(2)[-1], 2)
    abandon(spool)
    (tmp_path / "spool" / "cursor").write_text("nonsense")
    with opened(tmp_path / "spool") as after:
        assert bodies(after.peek(10)) == [body(0), body(1), body(2)]


def test_sent_segments_are_removed_and_the_order_holds_across_them(tmp_path: Path) -> None:
    """The directory does not grow with what was delivered."""
    with opened(tmp_path / "spool", segment_bytes=100) as spool:
        got: list[bytes] = []
        for number in range(40):
            spool.append(body(number))
            spool.sync()
        assert len(list(spool.directory.glob("*.log"))) > 5
        while records := spool.peek(7):
            got += bodies(records)
            spool.ack(records[-1], len(records))
        assert got == [body(number) for number in range(40)]
        assert len(list(spool.directory.glob("*.log"))) == 1


def test_a_closed_empty_spool_leaves_no_segment_and_the_next_starts_clean(tmp_path: Path) -> None:
    """After everything was delivered nothing waits, in this process or the next."""
    with opened(tmp_path / "spool") as spool:
        spool.append(body(0))
        spool.ack(spool.peek(1)[-1], 1)
    assert list((tmp_path / "spool").glob("*.log")) == []
    with opened(tmp_path / "spool") as after:
        assert after.pending == 0
        after.append(body(1))
        assert bodies(after.peek(10)) == [body(1)]


def test_two_processes_cannot_have_one_spool_and_the_second_hears_who_has_it(tmp_path: Path) -> None:
    """Two writers would interleave and ack each other's trades."""
    with (
        opened(tmp_path / "spool"),
        pytest.raises(SpoolError, match=f"used by process {os.getpid()}.*own engine id"),
    ):
        Spool(tmp_path / "spool")


def test_a_directory_that_cannot_be_made_is_refused_at_the_start(tmp_path: Path) -> None:
    """The operator hears it when the engine starts, not at the first trade."""
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(SpoolError, match="cannot open the spool"):
        Spool(tmp_path / "file" / "spool")


def test_a_disk_that_takes_half_a_record_leaves_nothing_of_it(tmp_path: Path) -> None:
    """A full disk is simulated by the kernel's file size limit, which cuts a write as ENOSPC does."""
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from exporter.spool import Spool; from exporter.deck_errors import SpoolError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "spool = Spool(Path(sys.argv[1])); taken = 0\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "try:\n"
        '    while True: spool.append(b\'{"trade_id": "t%d"}\' % taken); taken += 1\n'
        "except SpoolError as fault: print(taken, fault)\n"
        "try: spool.append(b'x' * 500)\n"
        "except SpoolError: print('again')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        'spool.append(b\'{"trade_id": "t%d"}\' % taken)\n'
        "print(spool.pending, len(spool.peek(1000)), spool.damaged)\n"
        "spool.close()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "spool")], check=True, capture_output=True, text=True
    )
    first, again, counts = ended.stdout.splitlines()
    taken = int(first.split()[0])
    assert taken > 10
    assert "half a record" in first or "too large" in first
    assert again == "again"
    assert counts == f"{taken + 1} {taken + 1} 0"
    with opened(tmp_path / "spool") as after:
        assert bodies(after.peek(1000)) == [body(number) for number in range(taken + 1)]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_refused_trade_is_in_the_dead_letter_file_with_its_reason(tmp_path: Path) -> None:
    """A person can see which trade, and why."""
    with opened(tmp_path / "spool") as spool:
        spool.set_aside(body(7), {"status": 400, "error": "out_of_range", "field": "trades[0].qty"})
        spool.set_aside("not json", {"status": None})
        first, second = [json.loads(line) for line in spool.dead_letters.read_text().splitlines()]
    assert first == {
        "trade": {"trade_id": "t7"},
        "status": 400,
        "error": "out_of_range",
        "field": "trades[0].qty",
    }
    assert second["trade"] == "not json"


def test_what_cannot_be_set_aside_or_synced_is_an_error_and_not_lost(tmp_path: Path) -> None:
    """The caller keeps the record in the queue, and the next sync tries again."""
    with opened(tmp_path / "spool") as spool:
        spool.append(body(0))
        spool.dead_letters.mkdir()
        with pytest.raises(SpoolError, match="cannot write"):
            spool.set_aside(body(0), {})
        (number,) = spool._fds
        real = spool._fds[number]
        spool._fds[number] = os.open("/dev/null", os.O_RDONLY)
        os.close(spool._fds[number])
        with pytest.raises(SpoolError, match="cannot sync"):
            spool.sync()
        spool._fds[number] = real
        spool.sync()
        assert bodies(spool.peek(10)) == [body(0)]


def test_what_waits_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Trades are private: neither the directory nor a file is readable for others."""
    with opened(tmp_path / "spool") as spool:
        spool.append(body(0))
        spool.set_aside(body(1), {})
        modes = {path.stat().st_mode & 0o077 for path in [spool.directory, *spool.directory.iterdir()]}
        assert modes == {0}


def test_a_closed_spool_takes_nothing_more(tmp_path: Path) -> None:
    """An append after close is told so instead of vanishing."""
    spool = Spool(tmp_path / "spool")
    spool.close()
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        spool.append(body(0))


def test_a_closed_spool_gives_nothing_and_opens_nothing(tmp_path: Path) -> None:
    """What waits is the next process's by then; a file opened now would be closed by nobody."""
    left_by_earlier_processes(tmp_path / "spool")
    spool = Spool(tmp_path / "spool")
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        spool.peek(9)
    assert spool._fds == {}


def test_what_is_sent_can_be_given_back_to_the_disk_and_the_next_records_are_not_lost(tmp_path: Path) -> None:
    """Only when all is sent; afterwards the queue goes on, also over a crash."""
    spool = Spool(tmp_path / "spool")
    spool.append(body(0))
    assert not spool.reclaim()
    spool.ack(spool.peek(1)[-1], 1)
    assert spool.reclaim()
    (segment,) = (tmp_path / "spool").glob("*.log")
    assert segment.stat().st_size == 0
    spool.append(body(1))
    abandon(spool)
    with opened(tmp_path / "spool") as after:
        assert bodies(after.peek(10)) == [body(1)]


def test_a_cursor_that_cannot_be_written_stops_nothing_and_is_told(tmp_path: Path) -> None:
    """A full disk refuses even the few bytes of the cursor: what is sent may come again, no more."""
    spool = Spool(tmp_path / "spool")
    spool.append(body(0))
    spool.append(body(1))
    os.close(spool._cursor_fd)
    spool._cursor_fd = os.open(spool.directory / "cursor", os.O_RDONLY)
    spool.ack(spool.peek(1)[-1], 1)
    assert isinstance(spool.cursor_fault, OSError)
    assert bodies(spool.peek(10)) == [body(1)]
    abandon(spool)
    with opened(tmp_path / "spool") as after:
        assert bodies(after.peek(10)) == [body(0), body(1)]


steps = st.lists(
    st.one_of(
        st.just(("append", 0)),
        st.tuples(st.just("send"), st.integers(1, 5)),
        st.tuples(st.just("crash"), st.integers(0, 30)),
        st.just(("close", 0)),
        st.just(("sync", 0)),
        st.just(("reclaim", 0)),
    ),
    max_size=40,
)


@given(steps)
def test_any_story_of_appends_sends_and_crashes_delivers_each_record_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[str, int]]
) -> None:
    """Against a plain list: what was appended and not acked is what waits, whatever happened between."""
    place = tmp_path_factory.mktemp("story") / "spool"
    spool = Spool(place, segment_bytes=60)
    waiting: list[bytes] = []
    number = 0
    for step, amount in story:
        if step == "append":
            spool.append(body(number))
            waiting.append(body(number))
            number += 1
        elif step == "send":
            records = spool.peek(amount)
            assert bodies(records) == waiting[: len(records)]
            assert bool(records) == bool(waiting)
            if records:
                spool.ack(records[-1], len(records))
                del waiting[: len(records)]
        elif step == "sync":
            spool.sync()
        elif step == "reclaim":
            assert not (spool.reclaim() and waiting)
        else:
            if step == "close":
                spool.close()
            else:
                abandon(spool)
                torn = max(place.glob("*.log"))
                torn.write_bytes(torn.read_bytes() + b"0" * amount)  # a write the crash cut short
            spool = Spool(place, segment_bytes=60)
        assert spool.pending == len(waiting)
    while records := spool.peek(4):
        assert bodies(records) == waiting[: len(records)]
        del waiting[: len(records)]
        spool.ack(records[-1], len(records))
    assert waiting == []
    spool.close()
