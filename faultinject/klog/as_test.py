"""Reports as a file of pytest tests: each loads the state and asserts the refusal.

Lives here: the text of the file, and whether a report has enough in it for a test. Not here:
a memory in that state (`faultinject.mm.logged_state`), the explanation (``.explain``).

Whether the model refuses the request is tried before a test is written. Names in a log can
be anything: what stands in the file of them is letters, digits and a few signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from faultinject.errors import FaultInjectError
from faultinject.gfp import NOWARN, format_gfp
from faultinject.klog.explain import Explanation
from faultinject.klog.reports import FailureReport
from faultinject.klog.vmalloc_cause import failed_for_pages
from faultinject.mm.mem_info import ZoneState
from faultinject.mm.memory import Memory

_HEAD: Final = '''\
"""Allocations that a kernel refused, as its log tells them.

Written by `faultinject explain --test`. Each test makes a model memory in the state that the
log shows, and asks it for what was refused there. Run with pytest.
"""

{imports}import faultinject as fi
'''
_FIGURES: Final = (
    "free",
    "boost",
    "min",
    "low",
    "high",
    "reserved_highatomic",
    "present",
    "managed",
    "free_cma",
)
_WIDEST: Final = 80
# What may stand in a comment or a string as it is.
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_ .,:/|()+@=#~-]")


def as_test(explanations: Iterable[Explanation]) -> str:
    """Give the file; a report that is no test is one that is skipped, with the reason."""
    tests: list[str] = []
    names: set[str] = set()
    for found in explanations:
        name = _name(found.report)
        while name in names:
            name += "_again"
        names.add(name)
        tests.append(_test(found, name))
    imports = "import pytest\n\n" if any("pytest." in test for test in tests) else ""
    return _HEAD.format(imports=imports) + "\n" + "\n\n".join(tests)


def why_no_test(found: Explanation) -> str | None:
    """Say what a report lacks for a test; None if it has everything."""
    report = found.report
    if not failed_for_pages(report):
        return "it did not fail for want of pages"
    if not report.zones:
        return "the log has no memory figures for this report"
    if found.release is None:
        return "no line of this report names the kernel; give --kernel"
    if report.order is None or found.flags.gfp is None:
        return "the log does not tell what was asked for"
    return None


def _test(found: Explanation, name: str) -> str:
    reason = why_no_test(found)
    if reason is None:
        text = _mem_info(found.report.zones)
        try:
            nodes = [node for node in _nodes(found.report) if _refuses(found, text, node)]
        except FaultInjectError as error:
            reason = f"the figures cannot be loaded: {error.what}: {error.value}"
        else:
            if nodes:
                return _runnable(found, name, text, nodes)
            reason = (
                "what the log tells does not decide whether the request is refused"
                if found.consistent is None
                else "by the figures of the log, which are of a later moment, the request passes"
            )
    return (
        f'@pytest.mark.skip(reason="{_plain(reason)}")\n'
        f"def {name}() -> None:\n"
        f'    """{_summary(found)}."""\n'
    )


def _runnable(found: Explanation, name: str, text: str, nodes: list[int]) -> str:
    report, release, gfp = found.report, found.release, found.flags.gfp
    assert release is not None
    assert gfp is not None
    constant = name.removeprefix("test_").upper()
    several = len(set(_nodes(report))) > 1
    lines = [f'{constant} = """\\', *text.splitlines(), '"""', "", ""]
    if several:
        lines.append(f'@pytest.mark.parametrize("node", {nodes})')
    lines += [
        f"def {name}({'node: int' if several else ''}) -> None:",
        f'    """{_summary(found)}.',
        "",
        f"    The cause: {found.cause}. The flags: {format_gfp(gfp) or 'none'}.",
        '    """',
        "    memory = fi.Memory.from_show_mem(",
        f"        {constant},",
        *(["        node=node,"] if several else []),
        f'        kernel="{release.model.name}",',
        f'        watermark_rule="{found.rule}",',
        "    )",
        "",
        f"    assert memory.alloc_pages(0x{int(gfp):X}, order={report.order}) is None",
        "",
    ]
    return "\n".join(lines)


def _refuses(found: Explanation, text: str, node: int) -> bool:
    assert found.release is not None
    assert found.flags.gfp is not None
    memory = Memory.from_show_mem(
        text, node=node, kernel=found.release.model.name, watermark_rule=found.rule
    )
    return memory.alloc_pages(int(found.flags.gfp) | NOWARN, found.report.order or 0) is None


def _nodes(report: FailureReport) -> list[int]:
    return sorted({zone.node for zone in report.zones})


def _mem_info(zones: Iterable[ZoneState]) -> str:
    """Write what a test needs of the figures, in the kernel's form."""
    lines = ["Mem-Info:"]
    for zone in zones:
        where = f"Node {zone.node} {zone.zone}"
        told = [f"{name}:{zone.figures[name]}kB" for name in _FIGURES if name in zone.figures]
        lines.append(f"{where} {' '.join(told)}")
        if zone.reserve is not None:
            lines.append(f"lowmem_reserve[]: {' '.join(map(str, zone.reserve))}")
        if zone.blocks is not None:
            lines.append(f"{where}: {_blocks(zone)}")
    return "\n".join(lines) + "\n"


def _blocks(zone: ZoneState) -> str:
    columns: list[str] = []
    for order, count in enumerate(zone.blocks or ()):
        if count is None:
            # The rest is cut off; that nothing is told of it keeps it so.
            return " ".join(columns)
        kinds = zone.letters[order] if order < len(zone.letters) else ""
        columns.append(f"{count}*{(zone.page_kb or 4) << order}kB{f' ({kinds})' if kinds else ''}")
    return f"{' '.join(columns)} = {zone.total_kb}kB"


def _name(report: FailureReport) -> str:
    who = re.sub(r"[^a-z0-9]+", "_", (report.comm or report.cache or "").lower()).strip("_")
    order = "" if report.order is None else f"order_{report.order}"
    return "_".join(part for part in ("test_line", str(report.line), who, order) if part)


def _summary(found: Explanation) -> str:
    report = found.report
    parts = [f"Line {report.line}: {report.kind.value}"]
    if report.comm:
        parts.append(report.comm)
    if report.order is not None:
        parts.append(f"order {report.order}")
    if found.release is not None:
        parts.append(f"Linux {found.release.text}")
    return _plain(", ".join(parts))[:_WIDEST]


def _plain(text: str) -> str:
    return _UNSAFE.sub("_", text)
