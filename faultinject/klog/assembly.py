"""Whole lines of a log, and the reports that they belong to.

Lives here: `Assembly`, which keeps the reports that more may be said of. Not here: what a
whole line is (``.reading``), what single lines say (``.headers``, ``.slab_lines``,
`faultinject.mm.mem_info`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from faultinject.klog import headers
from faultinject.klog.reports import FailureReport, Kind
from faultinject.klog.slab_lines import read_figures
from faultinject.mm.mem_info import MemInfo

#: After so many lines that say nothing of it, a report is over.
PATIENCE: Final = 400

#: So many reports are open at once: each CPU may be in the middle of one.
MOST_OPEN: Final = 64

# So many lines lie between two that one vmalloc prints, where others print at the same time.
_VMALLOC_APART: Final = 4


@dataclass(slots=True)
class _Open:
    """A report that more lines may belong to.

    Attributes:
        report: what is known of it.
        task: who prints it, where the log tells.
        last: the last line of it.
        mem_info: reads its figures.
        is_slab: whether it is one of a slab, which has no figures of zones.
        expects: of a vmalloc whose task is not told yet: what it says next.
        pages: of a slab's: the page allocation failure that may go with it.
        has_mem_info: whether its figures have begun.
        is_failure: whether it is a failure at all, or only has figures.
    """

    report: FailureReport
    task: str
    last: int
    mem_info: MemInfo = field(init=False)
    is_slab: bool = field(init=False)
    expects: Kind | None = None
    pages: FailureReport | None = None
    has_mem_info: bool = False
    is_failure: bool = True

    def __post_init__(self) -> None:
        self.is_slab = self.report.kind is Kind.SLAB
        remarks = self.report.remarks
        self.mem_info = MemInfo(self.report.zones, lambda _, text: remarks.append(text))


class Assembly:
    """Takes whole lines, and gives reports.

    Attributes:
        finished: the reports that are over; whoever takes them empties it.
        open: the reports that are not, the oldest first.
    """

    __slots__ = ("_release", "finished", "open")

    def __init__(self) -> None:
        self.finished: list[FailureReport] = []
        self.open: list[_Open] = []
        self._release: str | None = None

    def take(self, text: str, task: str, line: int, *, may_begin: bool) -> None:
        """Take a whole line of the kernel's.

        Args:
            text: the line, without the log's prefix.
            task: who printed it, or "".
            line: its number.
            may_begin: whether a report may begin with it.
        """
        text = text.lstrip()
        if may_begin and self._begins(text, task, line):
            return
        if text.startswith("Linux version ") and (release := headers.read_banner(text)):
            self._release = release
            return
        entry = self.zones_of(task)
        if entry is None:
            return
        if text.startswith(("Mem-Info:", "Mem-info:")):
            fresh = self._of_task(task, fresh=True)
            if fresh is not None:
                fresh.has_mem_info, fresh.last = True, line
        elif (release := headers.read_release(text)) is not None:
            if entry.report.kernel is None:
                entry.report.kernel, entry.last = release, line
        elif entry.mem_info.read(text, line):
            entry.has_mem_info, entry.last = True, line
        else:
            slab = self._of_task(task, slab=True)
            if slab is not None and read_figures(slab.report, text):
                slab.last = line

    def zones_of(self, task: str) -> _Open | None:
        """Give the report that figures belong to which a task prints now."""
        entry = self.open[-1] if self.open else None
        if entry is None or entry.is_slab or entry.task != task:
            return self._of_task(task)
        return entry

    def give_up(self, number: int) -> None:
        """Finish the oldest reports if, by this line, nothing more is to be expected for them."""
        open_ = self.open
        while open_ and (number - open_[0].last > PATIENCE or len(open_) > MOST_OPEN):
            self._finish(open_.pop(0))

    def end(self, cut_at: int | None) -> None:
        """Take the end of the log.

        Args:
            cut_at: the line that may go on, if the last one has no end.
        """
        for entry in self.open:
            if entry.last == cut_at:
                entry.report.remarks.append(
                    f"the text ends within line {cut_at}: its last figure may be cut"
                )
            self._finish(entry)
        self.open.clear()

    def _begins(self, text: str, task: str, line: int) -> bool:
        report = headers.read_header(text, line)
        if report is not None:
            self._join_vmalloc(report, task)
            entry = _Open(report, task, line)
            if report.vmalloc is not None and report.comm is None:
                # Where addresses ran out, an error follows; below that, until 4.8, a header.
                is_error = text.startswith("vmalloc:")
                entry.expects = Kind.PAGE if is_error else Kind.VMALLOC
            self._begin(entry)
            return True
        if headers.begins_other(text):
            # Else its figures would be taken for those of an earlier report that has none.
            self.open.append(_Open(FailureReport(Kind.PAGE, line), task, line, is_failure=False))
            return True
        return False

    def _join_vmalloc(self, report: FailureReport, task: str) -> None:
        """Take what vmalloc said just before into its report, where that has more lines."""
        before = self.open[-1] if self.open else None
        if before is None or before.task != task or before.expects is not report.kind:
            return
        said = before.report.vmalloc
        if said is None or report.line - before.last > _VMALLOC_APART:
            return
        if report.vmalloc is None:
            report.kind, report.size, report.vmalloc = Kind.VMALLOC, before.report.size, said
        else:
            report.vmalloc.failed, report.vmalloc.within = said.failed, said.within
        self.open.pop()

    def _begin(self, entry: _Open) -> None:
        if entry.is_slab:
            entry.pages = next(
                (
                    other.report
                    for other in reversed(self.open)
                    if other.task == entry.task and other.report.kind is Kind.PAGE
                ),
                None,
            )
        else:
            for other in [other for other in self.open if not other.has_mem_info]:
                if other.task == entry.task and not other.is_slab:
                    # Its figures were suppressed, or it is printed by another CPU just now.
                    entry.report.remarks.append(
                        f"the report at line {other.report.line} has no memory figures before "
                        "this one begins; they may have been mixed up"
                    )
        self.open.append(entry)

    def _of_task(self, task: str, *, slab: bool = False, fresh: bool = False) -> _Open | None:
        """Give the latest open report of a task; of any, where the log does not tell."""
        for entry in reversed(self.open):
            if entry.task == task and entry.is_slab is slab and not (fresh and entry.has_mem_info):
                return entry
        if not slab:
            return None if fresh else self._of_task(task, slab=True)
        return None

    def _finish(self, entry: _Open) -> None:
        report = entry.report
        if report.kernel is None:
            report.kernel = self._release
        slab, pages = report.slab, entry.pages
        if slab is not None and pages is not None and pages.order == slab.min_order:
            slab.pages_line = pages.line
        if entry.is_failure:
            self.finished.append(report)
