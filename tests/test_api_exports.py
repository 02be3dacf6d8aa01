import ast
import subprocess
import sys
from pathlib import Path

import pytest

import faultinject as fi
from faultinject import gfp

SOURCE = Path(fi.__file__).read_text("utf-8")
# What a newcomer may need, by the design; more is welcome.
PROMISED = set(
    """
FaultAttr failslab fail_page_alloc fail_alloc fail_nth no_faults make_it_fail sweep
kmalloc kzalloc kcalloc kmalloc_array krealloc ksize kfree kstrdup kmemdup
alloc_pages alloc_page free_pages free_page get_free_pages get_zeroed_page alloc_pages_exact
free_pages_exact kmem_cache_create Memory use_memory Pointer Page format_gfp Gfp
GFP_KERNEL GFP_ATOMIC GFP_NOWAIT GFP_NOIO GFP_NOFS GFP_USER GFP_DMA __GFP_ZERO __GFP_NOFAIL
MemoryFault OutOfBounds UseAfterFree DoubleFree InvalidFree LeakedObjects SpecError UsageError
    """.split()  # noqa: SIM905  # a table
)


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_promised_names_are_public() -> None:
    assert set(fi.__all__) >= PROMISED
    assert {name for name in vars(gfp) if name.startswith(("GFP_", "__GFP_"))} <= set(fi.__all__)


def test_no_name_is_public_twice() -> None:
    assert len(set(fi.__all__)) == len(fi.__all__)


@pytest.mark.parametrize("name", fi.__all__)
def test_every_public_name_can_be_used(name: str) -> None:
    assert getattr(fi, name) is not None
    assert name in dir(fi)


def test_type_checkers_are_told_the_same_homes() -> None:
    (told,) = [node for node in ast.parse(SOURCE).body if isinstance(node, ast.If)]
    homes = {
        alias.name: statement.module
        for statement in told.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }

    assert homes == {name: fi._home_of(name) for name in fi.__all__}


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "pytest coverage ast inspect asyncio pluggy logging re hashlib dataclasses"
    code = (
        "import sys; before = set(sys.modules); import faultinject;"
        f"print(*sorted((set(sys.modules) - before) & set('{heavy}'.split())))"
    )

    assert run(code) == ""


def test_using_a_capability_imports_neither_a_test_runner_nor_coverage() -> None:
    heavy = "pytest coverage ast inspect asyncio pluggy hashlib dataclasses"
    code = (
        "import sys; before = set(sys.modules); import faultinject as fi;"
        "fi.failslab(times=2), fi.fail_nth(1), fi.no_faults();"
        f"print(*sorted((set(sys.modules) - before) & set('{heavy}'.split())))"
    )

    assert run(code) == ""


def test_a_flag_can_be_named_inside_a_class_body() -> None:
    class Driver:
        flags = fi.__GFP_ZERO

        def ask(self) -> int:
            return fi.__GFP_NOFAIL

    class _Private:
        flags = fi.__GFP_ZERO

    assert Driver.flags == _Private.flags == 0x100
    assert Driver().ask() == 0x8000


@pytest.mark.parametrize(
    "name", ["nothing", "__GFP_NOTHING", "_Driver__GFP_NOTHING", "x__GFP_ZERO"]
)
def test_what_does_not_exist_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(fi, name)


def test_submodules_can_be_reached_without_importing_them() -> None:
    assert run("import faultinject as fi; print(fi.errors.SpecError.slug, fi.mm.__name__)") == (
        "spec faultinject.mm"
    )
