"""How fast a kernel log is read, and in how much memory.

A log of 200 MB is made piece by piece and never held as a whole: once other lines with a
report now and then, as on a server in trouble, and once nothing but reports.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

from results import arguments, rss, show

sys.path.insert(0, str(Path(__file__).parent.parent))

from faultinject.klog.explain import explain
from faultinject.klog.reading import read_reports

MEGABYTES = 200
LOGS = Path(__file__).parent.parent / "tests" / "klog" / "logs"

REPORT = b"".join(
    b"[%7d.%06d] %s\n" % (1000, number, line)
    for number, line in enumerate((LOGS / "6.8.txt").read_bytes().splitlines())
)
OTHERS = b"".join(
    b"[%7d.%06d] usb 1-1: new high-speed USB device number %d using xhci_hcd\n" % (n, n, n)
    for n in range(1000)
)


class Endless(io.RawIOBase):
    """A log that repeats one piece until it is long enough."""

    def __init__(self, piece: bytes, size: int) -> None:
        self._piece = piece * (1 + (1 << 16) // len(piece))
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """Give whole pieces, whatever was asked for."""
        if self._left <= 0:
            return b""
        self._left -= len(self._piece)
        return self._piece


def measure(piece: bytes) -> tuple[int, float, int]:
    """Give the number of reports, megabytes for each second, and KiB of memory added."""
    before, most, count = rss(), 0, 0
    started = time.process_time()
    for count, _ in enumerate(read_reports(Endless(piece, MEGABYTES << 20)), 1):  # type: ignore[arg-type]
        if count % 1000 == 0:
            most = max(most, rss())
    seconds = time.process_time() - started
    return count, MEGABYTES / seconds, max(0, max(most, rss()) - before)


def explaining() -> float:
    """Give the milliseconds that it takes to explain one report, on average over all of ours."""
    logs = [file.read_bytes() for file in sorted(LOGS.glob("*.txt"))]
    reports = [report for log in logs for report in read_reports(io.BytesIO(log))]
    started = time.process_time()
    for _ in range(100):
        for report in reports:
            explain(report)
    return (time.process_time() - started) * 10 / len(reports)


def main() -> None:
    options = arguments(__doc__ or "")
    rows = []
    for name, piece in [
        ("one report in 1,000 lines", OTHERS + REPORT),
        ("nothing but reports", REPORT),
        ("no report at all", OTHERS),
    ]:
        count, speed, memory = measure(piece)
        rows.append([name, f"{count:,}", f"{speed:.0f}", f"{memory / 1024:.1f}"])
    show(
        "Kernel logs",
        "kernel_logs.py",
        ["log of 200 MB", "reports", "MB for each second", "memory added, MiB"],
        rows,
        note=f"Reading alone, in seconds of the processor's time. To explain a report takes "
        f"{explaining():.1f} ms more.",
        write=options.write,
    )


if __name__ == "__main__":
    main()
