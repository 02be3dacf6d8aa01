"""Files of published packages, counted by hand, and the standard library, counted by its tree.

real/ has the files as they stand in the source distributions of PyPI, each with the licence
of its package; .txt, for they are nobody's modules here.
"""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from faultinject.errpaths.exclusion import Exclusions
from faultinject.errpaths.find import find_in_file
from faultinject.errpaths.path import PathKind

REAL = Path(__file__).parent / "real"
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))


@dataclass(frozen=True)
class Counted:
    """A hand count of one file: each path as `lines kind types function`."""

    package: str
    file: str
    paths: list[str]
    excluded: list[int]


BY_HAND = [
    Counted(
        "tinydb-4.9.0",
        "storages.py",
        [
            "32-32 with () touch",
            "152-153 except (io.UnsupportedOperation) JSONStorage.write",
        ],
        [],
    ),
    Counted(
        "pluggy-0.6.0",
        "callers.py",
        [
            "49-50 except (BaseException) _Result.from_call",
            "88-89 except (StopIteration) _wrapped_call",
            "94-95 except (StopIteration) _wrapped_call",
            "123-127 except (KeyError) _LegacyMultiCall.execute",
            "166-170 except (KeyError) _multicall",
            "177-178 except (StopIteration) _multicall",
            "185-186 except (BaseException) _multicall",
            "187-201 finally () _multicall",
            "198-199 except (StopIteration) _multicall",
        ],
        [],
    ),
    Counted(
        "portalocker-3.2.0",
        "utils.py",
        [
            "97-101 with () open_atomic",
            "108-110 finally () open_atomic",
            "109-109 suppress (Exception) open_atomic",
            "275-275 suppress (Exception) Lock.acquire.<locals>.try_close",
            "286-295 except (exceptions.LockException) Lock.acquire",
            "296-300 except (Exception) Lock.acquire",
            "527-528 except (exceptions.AlreadyLocked) BoundedSemaphore.try_lock",
        ],
        [275],  # try_close() is marked `# pragma: no cover`
    ),
]


@pytest.mark.parametrize("counted", BY_HAND, ids=lambda counted: counted.package)
def test_a_real_file_has_the_paths_that_were_counted(counted: Counted) -> None:
    file = str(REAL / counted.package / f"{counted.file}.txt")

    everything = find_in_file(file)
    left = find_in_file(file, excluded=Exclusions().lines)

    assert [
        f"{path.line}-{path.end_line} {path.kind.value} ({', '.join(path.types)}) {path.function}"
        for path in everything.paths
    ] == counted.paths
    without = [path for path in everything.paths if path.line not in counted.excluded]
    assert list(left.paths) == without
    assert left.excluded == len(counted.excluded)


def test_the_standard_library_has_as_many_handlers_as_its_tree() -> None:
    # Every fourth of its top level will do here: some 25,000 lines.
    files = sorted(STANDARD_LIBRARY.glob("*.py"))[::4]
    assert len(files) > 25

    for file in files:
        found = find_in_file(str(file))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = Counter(type(node) for node in ast.walk(ast.parse(file.read_bytes())))
        kinds = Counter(path.kind for path in found.paths)
        assert found.unreadable is None
        assert kinds[PathKind.EXCEPT] == nodes[ast.ExceptHandler], file
        assert len({path.key for path in found.paths}) == len(found.paths), file
        for path in found.paths:
            assert path.entry, file
            assert path.line <= path.code.end_line <= path.end_line, file
