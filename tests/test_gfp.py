"""Values, names and refusals of gfp flags."""

import pytest

import faultinject.gfp as gfp_module
from faultinject.errors import SpecError
from faultinject.gfp import GFP_KERNEL, Gfp, format_gfp, plain_gfp

PRINTED = [
    (0xCC0, "GFP_KERNEL"),
    (0x820, "GFP_ATOMIC"),
    (0x800, "GFP_NOWAIT"),
    (0x2800, "GFP_NOWAIT|__GFP_NOWARN"),
    (0xDC0, "GFP_KERNEL|__GFP_ZERO"),
    (0x40CC0, "GFP_KERNEL|__GFP_COMP"),
    (0x40DC0, "GFP_KERNEL|__GFP_COMP|__GFP_ZERO"),
    (0x12CC0, "GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY"),
    (0x4CC0, "GFP_KERNEL|__GFP_RETRY_MAYFAIL"),
    (0x8CC0, "GFP_KERNEL|__GFP_NOFAIL"),
    (0x100CCA, "GFP_HIGHUSER_MOVABLE"),
    (0xCC1, "GFP_KERNEL|GFP_DMA"),
    (0x452CC0, "GFP_KERNEL_ACCOUNT|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP"),
    (0xCD0, "GFP_KERNEL|__GFP_RECLAIMABLE"),
    (0x20, "__GFP_HIGH"),
    (0xC0, "__GFP_IO|__GFP_FS"),
    (0x1000000, "0x1000000"),
    (0x1C24CA, "GFP_TRANSHUGE"),
    (0x0, ""),
    (0xC00, "GFP_NOIO"),
    (0xC40, "GFP_NOFS"),
    (0x400, "__GFP_DIRECT_RECLAIM"),
    (0x1C20CA, "GFP_TRANSHUGE_LIGHT"),
    (0x200 | 0xCC0, "GFP_KERNEL|0x200"),
]

VALUES = {
    "GFP_NOWAIT": 0x800,
    "GFP_ATOMIC": 0x820,
    "GFP_NOIO": 0xC00,
    "GFP_NOFS": 0xC40,
    "GFP_KERNEL": 0xCC0,
    "GFP_KERNEL_ACCOUNT": 0x400CC0,
    "GFP_USER": 0x100CC0,
    "GFP_HIGHUSER": 0x100CC2,
    "GFP_HIGHUSER_MOVABLE": 0x100CCA,
    "GFP_TRANSHUGE_LIGHT": 0x1C20CA,
    "GFP_TRANSHUGE": 0x1C24CA,
    "GFP_DMA": 0x1,
    "GFP_DMA32": 0x4,
    "__GFP_DMA": 0x1,
    "__GFP_HIGHMEM": 0x2,
    "__GFP_DMA32": 0x4,
    "__GFP_MOVABLE": 0x8,
    "__GFP_RECLAIMABLE": 0x10,
    "__GFP_HIGH": 0x20,
    "__GFP_IO": 0x40,
    "__GFP_FS": 0x80,
    "__GFP_ZERO": 0x100,
    "__GFP_DIRECT_RECLAIM": 0x400,
    "__GFP_KSWAPD_RECLAIM": 0x800,
    "__GFP_RECLAIM": 0xC00,
    "__GFP_WRITE": 0x1000,
    "__GFP_NOWARN": 0x2000,
    "__GFP_RETRY_MAYFAIL": 0x4000,
    "__GFP_NOFAIL": 0x8000,
    "__GFP_NORETRY": 0x10000,
    "__GFP_MEMALLOC": 0x20000,
    "__GFP_COMP": 0x40000,
    "__GFP_NOMEMALLOC": 0x80000,
    "__GFP_HARDWALL": 0x100000,
    "__GFP_THISNODE": 0x200000,
    "__GFP_ACCOUNT": 0x400000,
    "__GFP_ZEROTAGS": 0x800000,
    "__GFP_SKIP_ZERO": 0x1000000,
    "__GFP_SKIP_KASAN": 0x2000000,
    "__GFP_NOLOCKDEP": 0x4000000,
}


@pytest.mark.parametrize(("flags", "text"), PRINTED)
def test_flags_print_as_the_kernel_prints_them(flags: int, text: str) -> None:
    assert format_gfp(flags) == text


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_every_flag_has_the_value_of_linux_6_6(name: str, value: int) -> None:
    flag = getattr(gfp_module, name)

    assert flag == value
    assert isinstance(flag, Gfp)
    assert getattr(Gfp, name.removeprefix("__GFP_").removeprefix("GFP_")) == value


def test_the_plain_masks_equal_their_members() -> None:
    masks = {n: v for n, v in vars(gfp_module).items() if n in Gfp.__members__}

    assert masks
    assert all(type(v) is int and v == Gfp[n] for n, v in masks.items())


def test_all_bits_of_the_enum_are_the_known_bits() -> None:
    known = 0
    for member in Gfp:
        known |= member

    assert known == gfp_module.KNOWN


def test_a_gfp_shows_the_kernels_names() -> None:
    assert str(GFP_KERNEL | Gfp.ZERO) == "GFP_KERNEL|__GFP_ZERO"
    assert repr(GFP_KERNEL) == "<Gfp 0xcc0: GFP_KERNEL>"
    assert f"{GFP_KERNEL:#x}" == "0xcc0"


@pytest.mark.parametrize("flags", [True, "GFP_KERNEL", None, 1.0])
def test_flags_of_another_type_are_refused(flags: object) -> None:
    for function in (format_gfp, plain_gfp):
        with pytest.raises(SpecError, match="not an int"):
            function(flags)


def test_negative_flags_are_refused() -> None:
    for function in (format_gfp, plain_gfp):
        with pytest.raises(SpecError, match="negative"):
            function(-1)


def test_unknown_bits_are_refused_by_name() -> None:
    with pytest.raises(SpecError, match="0x200"):
        plain_gfp(0xCC0 | 0x200)


def test_checked_flags_are_plain_ints() -> None:
    assert type(plain_gfp(GFP_KERNEL)) is int
    assert plain_gfp(GFP_KERNEL) == 0xCC0
