"""What each kernel prints of an allocation that failed, line by line.

Lives here: the header of the report, its stack dump, SLUB's own message, a warning. Not here: the
state of the memory below them (`faultinject.mm.show_mem`), what we add in front
(`faultinject.mm.meaning`), and which failures are told at all (`faultinject.mm.warn`).

Source: Linux mm/page_alloc.c, __alloc_pages() of 2.6.24, warn_alloc_failed() of 3.x,
warn_alloc() of 4.9 to 6.6; mm/slub.c, slab_out_of_memory(); kernel/panic.c, __warn(). The
stack is that of the Python code that asked, innermost call first.
"""

from __future__ import annotations

import os
import threading
from types import FrameType
from typing import TYPE_CHECKING, Final

from faultinject.callsite import caller_frame
from faultinject.mm.flag_values import SPELLED_SINCE, as_numbered, as_spelled

if TYPE_CHECKING:
    from faultinject.mm.slab import SlabCache

#: The kernel's TASK_COMM_LEN without the closing zero byte.
_COMM_LENGTH: Final = 15
_MOST_FRAMES: Final = 32

# The first release that printed each form.
_COLON: Final = (3, 0)
_CPU_FIRST: Final = (3, 11)
_NODEMASK: Final = (4, 11)
_ONE_LINE: Final = (5, 0)
_SLUB: Final = (2, 6, 31)
#: From here on SLUB's message is limited, and silenced by ``__GFP_NOWARN``.
SLUB_LIMITED_SINCE: Final = (4, 9)


def page_failure(order: int, gfp: int, release: tuple[int, ...]) -> list[str]:
    """Word the first line of a page allocation failure, or the first two."""
    stop = ":" if release >= _COLON else "."
    head = f"{comm()}: page allocation failure{stop} order:{order}, mode:{_mode(gfp, release)}"
    if release < _NODEMASK:
        return [head]
    if release < _ONE_LINE:
        return [f"{head}, nodemask=(null)", f"{comm()} cpuset=/ mems_allowed=0"]
    return [f"{head}, nodemask=(null),cpuset=/,mems_allowed=0"]


def slab_failure(cache: SlabCache, gfp: int, release: tuple[int, ...]) -> list[str]:
    """Word SLUB's message of a cache that got no new slab; nothing before 2.6.31."""
    if release < _SLUB:
        return []
    flags = _mode(gfp, release)
    how = f", gfp={flags}" if release >= SPELLED_SINCE else f" (gfp={flags})"
    slabs = list(cache.slabs)
    free = sum(len(slab.free) for slab in slabs)
    return [
        f"SLUB: Unable to allocate memory on node -1{how}",
        f"  cache: {cache.name}, object size: {cache.object_size}, buffer size: {cache.size}, "
        f"default order: {cache.order}, min order: {cache.min_order}",
        f"  node 0: slabs: {len(slabs)}, objs: {sum(slab.total for slab in slabs)}, free: {free}",
    ]


def dump_stack(frame: FrameType | None, release: tuple[int, ...], name: str) -> list[str]:
    """Give the lines that say who asked: the task, the kernel, and the Python code.

    Args:
        frame: where to begin, or None if nobody outside faultinject did.
        release: of the kernel, as numbers.
        name: of the kernel, as text.
    """
    task, kernel = threading.get_native_id(), f"Not tainted {name} #1 faultinject"
    if release >= _CPU_FIRST:
        lines = [f"CPU: 0 PID: {task} Comm: {comm()} {kernel}"]
    else:
        lines = [f"Pid: {task}, comm: {comm()} {kernel}"]
    lines.append("Call Trace:")
    at = caller_frame(frame) if frame is not None else None
    for _ in range(_MOST_FRAMES):
        if at is None:
            break
        code = at.f_code
        lines.append(f" {code.co_qualname} ({os.path.basename(code.co_filename)}:{at.f_lineno})")
        at = caller_frame(at.f_back) if at.f_back is not None else None
    return lines


def warning(
    function: str, frame: FrameType | None, release: tuple[int, ...], name: str
) -> list[str]:
    """Word a WARN_ON() of mm/page_alloc.c, without a number of the line in it.

    Args:
        function: of the kernel, where the condition stands.
        frame: where to begin, or None if nobody outside faultinject did.
        release: of the kernel, as numbers.
        name: of the kernel, as text.
    """
    where = f"at mm/page_alloc.c {function}"
    if release >= _CPU_FIRST:
        where = f"CPU: 0 PID: {threading.get_native_id()} {where}"
    return [
        "------------[ cut here ]------------",
        f"WARNING: {where}",
        "Modules linked in:",
        *dump_stack(frame, release, name),
        "---[ end trace 0000000000000000 ]---",
    ]


def suppressed(count: int, release: tuple[int, ...]) -> str:
    """Own up to reports of page allocation failures that the rate limit kept back."""
    if release < (2, 6, 26):
        return f"printk: {count} messages suppressed."
    if release < (3, 0):
        return f"__ratelimit: {count} callbacks suppressed"
    function = "warn_alloc" if release >= (4, 9) else "warn_alloc_failed"
    return f"{function}: {count} callbacks suppressed"


def slab_suppressed(count: int) -> str:
    """Own up to SLUB's messages that the rate limit kept back."""
    return f"slab_out_of_memory: {count} callbacks suppressed"


def mem_info_suppressed(count: int) -> str:
    """Own up to what Mem-Info's own limit kept back of reports that were printed."""
    return f"warn_alloc_show_mem: {count} callbacks suppressed"


def comm() -> str:
    """Give the name of the current thread as a kernel would have it."""
    name = threading.current_thread().name[:_COMM_LENGTH]
    return "".join(each if each.isprintable() else "?" for each in name)


def _mode(gfp: int, release: tuple[int, ...]) -> str:
    number = f"{as_numbered(gfp, release):#x}"
    return f"{number}({as_spelled(gfp, release)})" if release >= SPELLED_SINCE else number
