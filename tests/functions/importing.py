"""Functions with imports that their author believes may fail, and with others, for tests."""

from __future__ import annotations

import contextlib
import importlib
import sys
from contextlib import suppress


class Missing(Exception):
    pass


def by_except() -> str:
    try:
        import wave  # noqa: F401
    except ImportError:
        return "without"
    return "with"


def by_one_of_several() -> str:
    try:
        sys.getrefcount(None)
        from xml.dom import minidom  # noqa: F401
    except (KeyError, ModuleNotFoundError) as error:
        return str(error)
    return "with"


def by_second_except() -> str:
    try:
        import wave  # noqa: F401
    except KeyError:
        return "never"
    except importlib.import_module("builtins").NameError:  # too much to look up
        return "never"
    except ImportError:
        return "without"
    return "with"


def by_suppress() -> str:
    found = "without"
    with suppress(ImportError):
        import wave  # noqa: F401

        found = "with"
    return found


def by_qualified_suppress() -> str:
    with contextlib.suppress(KeyError, ImportError):
        import wave  # noqa: F401

        return "with"
    return "without"


def around_finally_and_class() -> str:
    try:
        try:
            if sys:

                class _Holder:
                    import wave
        finally:
            pass
    except ImportError:
        return "without"
    return "with"


def alone_in_a_broad_except() -> str:
    try:
        import wave  # noqa: F401

        found = "with"
    except Exception:
        found = "without"
    return found


def alone_in_a_bare_except() -> str:
    try:
        import wave  # noqa: F401
    except:  # noqa: E722
        return "without"
    return "with"


def by_function() -> str:
    try:
        importlib.import_module("wave")
    except ImportError as error:
        return f"without {error.name}"
    return "with"


def by_called_builtin() -> str:
    try:
        __import__("wave")
    except ImportError:
        return "without"
    return "with"


def open_to_failure() -> None:
    import wave  # noqa: F401


def with_finally_alone() -> None:
    try:
        import wave  # noqa: F401
    finally:
        pass


def with_another_error() -> None:
    try:
        import wave  # noqa: F401
    except Missing:
        sys.exit()


def among_much_else() -> str:
    try:
        import wave

        found = wave.__name__
    except Exception:
        found = "without"
    return found


def behind_it() -> None:
    try:
        pass
    except ImportError:
        import wave
    else:
        import wave  # noqa: F401


def with_another_manager() -> None:
    with contextlib.nullcontext(ImportError):
        import wave  # noqa: F401


def inside_another_function() -> None:
    try:
        if sys:

            def inner() -> None:
                import wave  # noqa: F401

    except ImportError:
        pass
    inner()


def in_a_lambda() -> None:
    try:
        found = lambda: importlib.import_module("wave")  # noqa: E731
    except ImportError:
        sys.exit()
    found()


GUARDED = [
    *(by_except, by_one_of_several, by_second_except, by_suppress, by_qualified_suppress),
    *(around_finally_and_class, alone_in_a_broad_except, alone_in_a_bare_except),
    *(by_function, by_called_builtin),
]
NOT_GUARDED = [
    *(open_to_failure, with_finally_alone, with_another_error, among_much_else, behind_it),
    *(with_another_manager, inside_another_function, in_a_lambda),
]
