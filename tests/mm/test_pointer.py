"""Access through pointers: bounds, life, views."""

import copy
import pickle
import threading

import pytest

from faultinject.engine.log import violations
from faultinject.errors import OutOfBounds, UsageError, UseAfterFree
from faultinject.mm import ZERO_SIZE_PTR, Memory, Pointer


@pytest.fixture
def memory() -> Memory:
    return Memory("1M")


@pytest.fixture
def pointer(memory: Memory) -> Pointer:
    pointer = memory.kzalloc(10)
    assert pointer is not None
    return pointer


def test_bytes_and_slices_are_written_and_read(pointer: Pointer) -> None:
    pointer[0:5] = b"hello"
    pointer[9] = 7
    pointer[5:7] = bytearray(b"!!")
    pointer[7:9] = memoryview(b"ab")

    assert bytes(pointer) == b"hello!!ab\x07"
    assert pointer[:5] == b"hello"
    assert pointer[5:] == b"!!ab\x07"
    assert pointer[:] == bytes(pointer)
    assert pointer[3:3] == b""
    assert list(pointer)[:2] == [104, 101]
    assert 104 in pointer


@pytest.mark.parametrize(
    "key",
    [
        10,
        -1,
        1 << 70,
        slice(0, 11),
        slice(-3, None),
        slice(0, -1),
        slice(11, None),
        slice(5, 3),
    ],
)
def test_nothing_is_clamped(pointer: Pointer, key: object) -> None:
    mark = violations.mark()

    with pytest.raises(OutOfBounds, match="10 bytes was read") as read:
        pointer[key]  # type: ignore[index]
    with pytest.raises(OutOfBounds, match="10 bytes was written"):
        pointer[key] = 0 if isinstance(key, int) else b""  # type: ignore[index]

    assert len(violations.since(mark)) == 2
    assert read.value.allocated_at is not None
    assert read.value.allocated_at.function == "pointer"
    assert bytes(pointer) == bytes(10)


def test_the_slack_of_a_size_class_is_out_of_bounds(memory: Memory, pointer: Pointer) -> None:
    assert memory.ksize(pointer) == 16
    with pytest.raises(OutOfBounds):
        pointer[10]


@pytest.mark.parametrize("content", [b"four", b"sixsix", b""])
def test_a_slice_takes_exactly_as_many_bytes_as_it_has(pointer: Pointer, content: bytes) -> None:
    with pytest.raises(UsageError, match=r"\[0:5\]"):
        pointer[0:5] = content

    assert bytes(pointer) == bytes(10)


@pytest.mark.parametrize("value", [256, -1, True, b"a", "a", None, 1.0])
def test_what_is_no_byte_is_refused(pointer: Pointer, value: object) -> None:
    with pytest.raises(UsageError, match="not a byte"):
        pointer[0] = value  # type: ignore[call-overload]


@pytest.mark.parametrize("value", [5, "abcde", None, [1, 2, 3, 4, 5]])
def test_what_is_not_bytes_does_not_fit_a_slice(pointer: Pointer, value: object) -> None:
    with pytest.raises(UsageError):
        pointer[0:5] = value  # type: ignore[call-overload]


def test_steps_are_refused(pointer: Pointer) -> None:
    with pytest.raises(UsageError, match=r"\[::2\]"):
        pointer[::2]
    assert pointer[0:3:1] == bytes(3)


def test_a_pointer_can_be_assigned_to_a_slice_of_another(memory: Memory, pointer: Pointer) -> None:
    source = memory.kmemdup(b"0123456789", 10)
    assert source is not None

    pointer[0:10] = source  # type: ignore[assignment]

    assert bytes(pointer) == b"0123456789"


def test_the_view_is_the_memory_itself(pointer: Pointer) -> None:
    pointer.data[0:3] = b"abc"

    assert pointer[0:3] == b"abc"
    assert len(pointer.data) == 10
    assert pointer.data is pointer.data
    assert not pointer.data.readonly


def test_a_free_takes_the_view_away(memory: Memory, pointer: Pointer) -> None:
    view = pointer.data
    rest = view[2:4]

    memory.kfree(pointer)

    with pytest.raises(ValueError, match="released"):
        view[0]
    assert bytes(rest) == b"\x6b\x6b"
    with pytest.raises(UseAfterFree):
        _ = pointer.data


def test_a_view_that_is_held_by_an_array_shows_the_poison(memory: Memory, pointer: Pointer) -> None:
    import ctypes

    array = (ctypes.c_char * 10).from_buffer(pointer.data)

    memory.kfree(pointer)

    assert bytes(array) == b"\x6b" * 10


def test_krealloc_takes_the_view_away(memory: Memory, pointer: Pointer) -> None:
    view = pointer.data

    memory.krealloc(pointer, 12)

    with pytest.raises(ValueError, match="released"):
        view[0]
    assert len(pointer.data) == 12


def test_every_access_after_the_free_names_both_places(memory: Memory, pointer: Pointer) -> None:
    memory.kfree(pointer)

    accesses = [
        lambda: pointer[0],
        lambda: pointer[0:2],
        lambda: pointer.__setitem__(0, 1),
        lambda: pointer.__setitem__(slice(0, 2), b"ab"),
        lambda: bytes(pointer),
        lambda: list(pointer),
        lambda: pointer.data,
    ]
    for access in accesses:
        mark = violations.mark()
        with pytest.raises(UseAfterFree) as caught:
            access()
        assert caught.value.allocated_at is not None
        assert caught.value.freed_at is not None
        assert caught.value.allocated_at.function == "pointer"
        assert caught.value.freed_at.function.startswith("test_every_access")
        assert violations.since(mark) == [caught.value]


def test_a_pointer_is_true_and_equal_to_itself_only(memory: Memory, pointer: Pointer) -> None:
    other = memory.kzalloc(10)

    assert pointer
    assert pointer == pointer
    assert pointer != other
    assert len({pointer, other}) == 2
    memory.kfree(pointer)
    assert pointer


def test_a_pointer_shows_address_size_state_and_site(memory: Memory, pointer: Pointer) -> None:
    shown = repr(pointer)
    memory.kfree(pointer)

    assert f"{pointer.address:#x}" in shown
    assert "10 bytes" in shown
    assert "allocated at" in shown
    assert "test_pointer.py" in shown
    assert "freed at" in repr(pointer)


def test_a_pointer_cannot_be_copied(pointer: Pointer) -> None:
    for copying in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="bytes"):
            copying(pointer)


def test_the_pointer_to_nothing_stays_the_only_one() -> None:
    assert copy.copy(ZERO_SIZE_PTR) is ZERO_SIZE_PTR
    assert copy.deepcopy(ZERO_SIZE_PTR) is ZERO_SIZE_PTR
    assert repr(ZERO_SIZE_PTR) == "ZERO_SIZE_PTR"
    with pytest.raises(UsageError):
        _ = ZERO_SIZE_PTR.memory


def test_an_allocation_without_a_caller_is_named_unknown(memory: Memory) -> None:
    # A thread whose target is ours has no frame of the user's on its stack but threading's.
    thread = threading.Thread(target=memory.kmalloc, args=(8,))
    thread.start()
    thread.join()

    assert memory.leaks()[0].site.module == "threading"
