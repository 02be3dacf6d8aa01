"""What our server refused is refused again, and the way around it works.

Try ``pytest examples/our_server``, and ``pytest --fail-alloc examples/our_server``.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import faultinject as fi
from our_server.mail_index import Index, PatientIndex

HERE = Path(__file__).parent
LOG = (HERE / "server.log").read_text(encoding="ascii")
MAILS = 2048


@pytest.fixture
def imap() -> Iterator[None]:
    """The thread has the task's name."""
    thread = threading.current_thread()
    before, thread.name = thread.name, "imap"
    yield
    thread.name = before


@pytest.mark.no_fail_alloc
def test_the_index_is_refused_with_the_very_line_of_the_log(
    imap: None, caplog: pytest.LogCaptureFixture
) -> None:
    memory = fi.Memory.from_show_mem(LOG, kernel="2.6.32")

    with fi.use_memory(memory), pytest.raises(MemoryError):
        Index(MAILS)

    header = LOG.splitlines()[0].partition("] ")[2]
    assert header == "imap: page allocation failure. order:4, mode:0xc0d0"
    assert header in caplog.text
    assert memory.leaks() == []


@pytest.mark.no_fail_alloc
def test_a_later_kernel_would_have_met_the_request() -> None:
    memory = fi.Memory.from_show_mem(LOG, kernel="6.6")

    with fi.use_memory(memory):
        Index(MAILS).close()

    assert memory.leaks() == []


def works(index: Index | PatientIndex) -> None:
    for number in (0, 127, 128, MAILS - 1):
        index.put(number, b"mail %d" % number)
    for number in (0, 127, 128, MAILS - 1):
        assert index.get(number).rstrip(b"\0") == b"mail %d" % number
    index.close()


@pytest.mark.no_fail_alloc
def test_in_single_pages_the_index_fits_on_that_server() -> None:
    memory = fi.Memory.from_show_mem(LOG, kernel="2.6.32")

    with fi.use_memory(memory):
        index = PatientIndex(MAILS)
        assert index.pieces == 16
        works(index)

    assert memory.leaks() == []


@pytest.mark.parametrize("kind", [Index, PatientIndex])
def test_an_index_keeps_its_entries(kind: type[Index | PatientIndex]) -> None:
    works(kind(MAILS))


@pytest.mark.no_fail_alloc
def test_the_program_tells_the_whole_story() -> None:
    ran = subprocess.run(
        [sys.executable, str(HERE / "reproduce.py")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert "the cause is fragmentation" in ran.stdout
    assert "In single pages it fits: 16 of them." in ran.stdout
    assert "iterative rule, order 4, mark 1769 (7076 kB): fails" in ran.stdout
    assert "765 (3060 kB)" in ran.stdout
    assert "modern rule, order 4, mark 1769 (7076 kB): passes" in ran.stdout
