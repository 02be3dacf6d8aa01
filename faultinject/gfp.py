"""GFP flags: how an allocation may behave, with the values of Linux 6.6.

Lives here: the bits and their compounds, the plain-int masks that hot paths
test, the check of a flags argument, and the kernel's way to print flags. Not
here: which request may fail (`faultinject.capabilities`), and what the model
memory makes of the flags (`faultinject.mm`).

A flags argument may be a `Gfp` or a plain ``int``. The names with two leading
underscores are the kernel's; inside a class body Python would mangle them, so
each is also a member: ``Gfp.ZERO`` is ``__GFP_ZERO``.

Source: include/linux/gfp_types.h and include/trace/events/mmflags.h.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

from faultinject.errors import SpecError


class Gfp(IntFlag):
    """The flags of one allocation; ``str()`` prints them as the kernel's ``%pGg`` does."""

    DMA = 0x1  # zone DMA
    HIGHMEM = 0x2  # zone HighMem is allowed
    DMA32 = 0x4  # zone DMA32
    MOVABLE = 0x8  # the page can be moved by compaction
    RECLAIMABLE = 0x10  # the page can be reclaimed by a shrinker
    HIGH = 0x20  # may dip into the min reserve
    IO = 0x40  # may start physical I/O
    FS = 0x80  # may call down into the file system
    ZERO = 0x100  # return zeroed memory
    DIRECT_RECLAIM = 0x400  # may sleep in direct reclaim
    KSWAPD_RECLAIM = 0x800  # may wake kswapd
    WRITE = 0x1000  # the page will be dirtied
    NOWARN = 0x2000  # no failure report
    RETRY_MAYFAIL = 0x4000  # try hard, may still fail
    NOFAIL = 0x8000  # must not fail; never injected
    NORETRY = 0x10000  # one light attempt
    MEMALLOC = 0x20000  # may use all reserves
    COMP = 0x40000  # compound page
    NOMEMALLOC = 0x80000  # no reserves; wins over MEMALLOC
    HARDWALL = 0x100000  # enforce the cpuset
    THISNODE = 0x200000  # this node only
    ACCOUNT = 0x400000  # charge the memory cgroup
    ZEROTAGS = 0x800000
    SKIP_ZERO = 0x1000000  # a kernel without KASAN_HW_TAGS has 0 here
    SKIP_KASAN = 0x2000000  # likewise
    NOLOCKDEP = 0x4000000  # a kernel without LOCKDEP has 0 here

    RECLAIM = DIRECT_RECLAIM | KSWAPD_RECLAIM

    NOWAIT = KSWAPD_RECLAIM
    ATOMIC = HIGH | KSWAPD_RECLAIM
    NOIO = RECLAIM
    NOFS = RECLAIM | IO
    KERNEL = RECLAIM | IO | FS
    KERNEL_ACCOUNT = KERNEL | ACCOUNT
    USER = KERNEL | HARDWALL
    HIGHUSER = USER | HIGHMEM
    HIGHUSER_MOVABLE = HIGHUSER | MOVABLE
    TRANSHUGE_LIGHT = (HIGHUSER_MOVABLE | COMP | NOMEMALLOC | NOWARN) & ~RECLAIM
    TRANSHUGE = TRANSHUGE_LIGHT | DIRECT_RECLAIM

    def __str__(self) -> str:
        return format_gfp(self._value_)

    def __repr__(self) -> str:
        return f"<Gfp {self._value_:#x}: {format_gfp(self._value_)}>"


GFP_NOWAIT: Final = Gfp.NOWAIT
GFP_ATOMIC: Final = Gfp.ATOMIC
GFP_NOIO: Final = Gfp.NOIO
GFP_NOFS: Final = Gfp.NOFS
GFP_KERNEL: Final = Gfp.KERNEL
GFP_KERNEL_ACCOUNT: Final = Gfp.KERNEL_ACCOUNT
GFP_USER: Final = Gfp.USER
GFP_HIGHUSER: Final = Gfp.HIGHUSER
GFP_HIGHUSER_MOVABLE: Final = Gfp.HIGHUSER_MOVABLE
GFP_TRANSHUGE_LIGHT: Final = Gfp.TRANSHUGE_LIGHT
GFP_TRANSHUGE: Final = Gfp.TRANSHUGE
GFP_DMA: Final = Gfp.DMA
GFP_DMA32: Final = Gfp.DMA32

__GFP_DMA: Final = Gfp.DMA
__GFP_HIGHMEM: Final = Gfp.HIGHMEM
__GFP_DMA32: Final = Gfp.DMA32
__GFP_MOVABLE: Final = Gfp.MOVABLE
__GFP_RECLAIMABLE: Final = Gfp.RECLAIMABLE
__GFP_HIGH: Final = Gfp.HIGH
__GFP_IO: Final = Gfp.IO
__GFP_FS: Final = Gfp.FS
__GFP_ZERO: Final = Gfp.ZERO
__GFP_DIRECT_RECLAIM: Final = Gfp.DIRECT_RECLAIM
__GFP_KSWAPD_RECLAIM: Final = Gfp.KSWAPD_RECLAIM
__GFP_RECLAIM: Final = Gfp.RECLAIM
__GFP_WRITE: Final = Gfp.WRITE
__GFP_NOWARN: Final = Gfp.NOWARN
__GFP_RETRY_MAYFAIL: Final = Gfp.RETRY_MAYFAIL
__GFP_NOFAIL: Final = Gfp.NOFAIL
__GFP_NORETRY: Final = Gfp.NORETRY
__GFP_MEMALLOC: Final = Gfp.MEMALLOC
__GFP_COMP: Final = Gfp.COMP
__GFP_NOMEMALLOC: Final = Gfp.NOMEMALLOC
__GFP_HARDWALL: Final = Gfp.HARDWALL
__GFP_THISNODE: Final = Gfp.THISNODE
__GFP_ACCOUNT: Final = Gfp.ACCOUNT
__GFP_ZEROTAGS: Final = Gfp.ZEROTAGS
__GFP_SKIP_ZERO: Final = Gfp.SKIP_ZERO
__GFP_SKIP_KASAN: Final = Gfp.SKIP_KASAN
__GFP_NOLOCKDEP: Final = Gfp.NOLOCKDEP

# The same bits as plain ints. An operator of an enum costs a microsecond, of an
# int twenty nanoseconds, so whatever runs once per allocation tests these.
DMA: Final = 0x1
HIGHMEM: Final = 0x2
DMA32: Final = 0x4
RECLAIMABLE: Final = 0x10
ZERO: Final = 0x100
DIRECT_RECLAIM: Final = 0x400
RECLAIM: Final = 0xC00
NOWARN: Final = 0x2000
RETRY_MAYFAIL: Final = 0x4000
NOFAIL: Final = 0x8000
NORETRY: Final = 0x10000
COMP: Final = 0x40000
NOMEMALLOC: Final = 0x80000
ACCOUNT: Final = 0x400000

#: Every bit that 6.6 gives a meaning; 0x200 has had none since 6.3.
KNOWN: Final = 0x7FFFDFF
#: The rest, negative numbers included: ``flags & UNKNOWN`` is non-zero for bad flags.
UNKNOWN: Final = ~KNOWN

# Most bits first, so that the greedy match of `format_gfp` finds compounds.
# The order of 6.1 to 6.13; GFP_ATOMIC must come before GFP_NOWAIT, and so on.
_NAMES: Final[tuple[tuple[str, int], ...]] = tuple(
    (name, int(bits))
    for name, bits in (
        ("GFP_TRANSHUGE", Gfp.TRANSHUGE),
        ("GFP_TRANSHUGE_LIGHT", Gfp.TRANSHUGE_LIGHT),
        ("GFP_HIGHUSER_MOVABLE", Gfp.HIGHUSER_MOVABLE),
        ("GFP_HIGHUSER", Gfp.HIGHUSER),
        ("GFP_USER", Gfp.USER),
        ("GFP_KERNEL_ACCOUNT", Gfp.KERNEL_ACCOUNT),
        ("GFP_KERNEL", Gfp.KERNEL),
        ("GFP_NOFS", Gfp.NOFS),
        ("GFP_ATOMIC", Gfp.ATOMIC),
        ("GFP_NOIO", Gfp.NOIO),
        ("GFP_NOWAIT", Gfp.NOWAIT),
        ("GFP_DMA", Gfp.DMA),
        ("__GFP_HIGHMEM", Gfp.HIGHMEM),
        ("GFP_DMA32", Gfp.DMA32),
        ("__GFP_HIGH", Gfp.HIGH),
        ("__GFP_IO", Gfp.IO),
        ("__GFP_FS", Gfp.FS),
        ("__GFP_NOWARN", Gfp.NOWARN),
        ("__GFP_RETRY_MAYFAIL", Gfp.RETRY_MAYFAIL),
        ("__GFP_NOFAIL", Gfp.NOFAIL),
        ("__GFP_NORETRY", Gfp.NORETRY),
        ("__GFP_COMP", Gfp.COMP),
        ("__GFP_ZERO", Gfp.ZERO),
        ("__GFP_NOMEMALLOC", Gfp.NOMEMALLOC),
        ("__GFP_MEMALLOC", Gfp.MEMALLOC),
        ("__GFP_HARDWALL", Gfp.HARDWALL),
        ("__GFP_THISNODE", Gfp.THISNODE),
        ("__GFP_RECLAIMABLE", Gfp.RECLAIMABLE),
        ("__GFP_MOVABLE", Gfp.MOVABLE),
        ("__GFP_ACCOUNT", Gfp.ACCOUNT),
        ("__GFP_WRITE", Gfp.WRITE),
        ("__GFP_RECLAIM", Gfp.RECLAIM),
        ("__GFP_DIRECT_RECLAIM", Gfp.DIRECT_RECLAIM),
        ("__GFP_KSWAPD_RECLAIM", Gfp.KSWAPD_RECLAIM),
        ("__GFP_ZEROTAGS", Gfp.ZEROTAGS),
    )
)


def format_gfp(flags: int) -> str:
    """Print flags as the kernel's ``%pGg`` does: ``0xdc0`` is ``GFP_KERNEL|__GFP_ZERO``.

    Compounds are named before their parts. Bits without a name are appended as
    one hexadecimal number. 0 is the empty text.

    Raises:
        SpecError: `flags` is not an int (``True`` is none here), or is negative.
    """
    rest = int_gfp(flags)
    if rest < 0:
        raise SpecError("gfp flags are negative", value=flags, cure="Pass 0 or more")
    parts = []
    for name, bits in _NAMES:
        if not rest:
            break
        if rest & bits == bits:
            parts.append(name)
            rest &= ~bits
    if rest:
        parts.append(f"{rest:#x}")
    return "|".join(parts)


def plain_gfp(flags: object) -> int:
    """Return a flags argument as a plain ``int`` that has known bits only.

    Raises:
        SpecError: `flags` is not an int, is negative, or has a bit that 6.6 does not know.
    """
    value = int_gfp(flags)
    if value & UNKNOWN:
        if value < 0:
            raise SpecError("gfp flags are negative", value=value, cure="Pass 0 or more")
        raise SpecError(
            f"gfp flags {value:#x} have unknown bits",
            value=hex(value & UNKNOWN),
            cure="Combine GFP_* and __GFP_* of faultinject with |",
        )
    return value


def int_gfp(flags: object) -> int:
    """Return a flags argument as a plain ``int``, with whatever bits it has.

    Raises:
        SpecError: `flags` is not an int (``True`` is none here).
    """
    # A bool is an int to Python; here it is a size or a pointer in the wrong place.
    if isinstance(flags, bool) or not isinstance(flags, int):
        raise SpecError(
            "gfp flags are not an int",
            value=flags,
            cure="Pass GFP_KERNEL, GFP_ATOMIC or another GFP_* value",
        )
    return flags._value_ if isinstance(flags, Gfp) else int(flags)
