"""Faults as text: what a call fails with.

Lives here: `Fault` and `parse`, the grammar of errors and return values. Not here: which
calls fail (`faultinject.functions.target`), and the errors that each callable of the
standard library can have (`faultinject.functions.profiles`).

Nothing is evaluated: names of exceptions and numbers are looked up, the rest are literals.
"""

from __future__ import annotations

import ast
import builtins
import errno
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import Enum
from importlib import import_module
from typing import Any, Final, Literal, NoReturn, cast

from faultinject.errors import SpecError
from faultinject.functions.real_errors import (
    CONSTANT,
    USUAL,
    is_exception,
    is_numbered,
    like_sqlite,
    literal,
    os_error,
)
from faultinject.functions.target import public_name

When = Literal["before", "after"]

_WHEN: Final = re.compile(r"\s(before|after)\Z")
_NAME: Final = re.compile(r"(?!\d)\w+(?:\.(?!\d)\w+)*(?::(?!\d)\w+(?:\.(?!\d)\w+)*)?")
_SHORT: Final = re.compile(r"(short-read|short-write)(?:=(.*))?\Z", flags=re.DOTALL)
_FORMS: Final = (
    "Write ENOSPC, OSError(ENOSPC), TimeoutError, mypkg.errors:Busy('text'), returns=None, "
    "short-read or short-write; after it 'after', if the call happens first"
)


class Kind(Enum):
    """What becomes of a call that fails; the value begins its text."""

    RAISE = ""
    RETURN = "returns"
    SHORT_READ = "short-read"
    SHORT_WRITE = "short-write"


@dataclass(frozen=True)
class Fault:
    """What one call fails with.

    Attributes:
        text: the canonical text, which `parse` reads back as an equal fault.
        kind: whether it raises, returns something, or transfers less than was asked for.
        when: ``"before"``: the call never happens; ``"after"``: it happens, and then fails,
            as a disk that has written and cannot say so. A short read or write has
            ``"before"``, but does happen.
        size: of a short read or write: how many bytes (of text: characters) it transfers at
            most; else 0.
    """

    text: str
    kind: Kind = field(compare=False)
    when: When = field(compare=False)
    size: int = field(compare=False)
    _build: Callable[[], Any] = field(compare=False, repr=False)

    def make(self) -> BaseException:
        """Build the exception, a fresh one each time.

        Raises:
            TypeError: it is a fault that raises nothing.
        """
        if self.kind is not Kind.RAISE:
            raise TypeError(f"{self.text} raises nothing")
        return cast(BaseException, self._build())

    @property
    def value(self) -> object:
        """What the call returns, a fresh object each time.

        Raises:
            TypeError: it is a fault that returns nothing of its own.
        """
        if self.kind is not Kind.RETURN:
            raise TypeError(f"{self.text} is no value")
        return self._build()

    def made_by(self, build: Callable[[], Any]) -> Fault:
        """Give the same fault, with what one call makes of it."""
        return replace(self, _build=build)

    def __reduce__(self) -> tuple[Callable[[str], Fault], tuple[str]]:
        return parse, (self.text,)

    def __str__(self) -> str:
        return self.text


def parse(text: str, *, when: When = "before") -> Fault:
    """Read a fault.

    * ``ENOSPC``, ``OSError(ENOSPC)``: with the system's own words, and of the class that
      Python gives to that number;
    * ``TimeoutError``, ``sqlite3.OperationalError('database is locked')``,
      ``mypkg.errors:Busy``: any exception. Arguments are literals, or numbers by name: of
      `errno`, and of the exception's module (``socket.gaierror(EAI_AGAIN, 'again')``);
    * ``returns=None``, ``returns=-ENOSPC``: a literal, or the number of an error;
    * ``short-read``, ``short-write=512``: at most so many bytes, one if no number is given;
      ``short-read=0`` is the end of the stream;
    * any of them but the last two with ``before`` or ``after`` behind it.

    Args:
        text: the text. Modules that it names are imported.
        when: holds if the text does not say it.

    Raises:
        SpecError: naming the character at which it cannot be understood.
    """
    body = text.strip()
    said = _WHEN.search(body)
    if said:
        body = body[: said.start()].rstrip()
        when = cast(When, said[1])
    reader = _Reader(text, len(text) - len(text.lstrip()))
    short = _SHORT.match(body)
    if short:
        if said:
            reader.refuse(
                "a short read or write happens, neither before nor after",
                said[1],
                text.rindex(said[1]),
                "Leave the word out",
            )
        return reader.short(Kind(short[1]), short[2])
    if body.startswith("returns="):
        canonical, build = reader.value(body)
        kind = Kind.RETURN
    else:
        canonical, build = reader.exception(body)
        kind = Kind.RAISE
    written = f"{canonical} after" if when == "after" else canonical
    return Fault(written, kind, when, 0, build)


def fault_of(cls: type[BaseException]) -> Fault:
    """Make the fault that raises an exception of this class, without arguments.

    Its text cannot be read back if the class is local to a function.

    Raises:
        SpecError: the class cannot be called without arguments.
    """
    if cls.__module__ == "builtins":
        return parse(cls.__name__)
    name = public_name(cls)
    text = name or f"{cls.__module__}:{cls.__qualname__}"
    _, build = _Reader(text, 0).built_by(cls, text, cls)
    return Fault(text, Kind.RAISE, "before", 0, build)


@dataclass(frozen=True)
class _Reader:
    """One text that is being read; `start` is where its first character stands."""

    text: str
    start: int

    def refuse(self, what: str, value: object, at: int, cure: str) -> NoReturn:
        raise SpecError(
            what, value=value, where=f"character {at + 1} of {self.text!r}", cure=cure
        ) from None

    def short(self, kind: Kind, number: str | None) -> Fault:
        least = 1 if kind is Kind.SHORT_WRITE else 0  # a read of 0 bytes is the end
        size = 1 if number is None else int(number) if re.fullmatch("[0-9]{1,9}", number) else -1
        if size < least:
            self.refuse(
                "not a number of bytes",
                number,
                self.start + len(kind.value) + 1,
                f"Give a whole number from {least}, as {kind.value}=512",
            )
        return Fault(f"{kind.value}={size}", kind, "before", size, lambda: None)

    def value(self, body: str) -> tuple[str, Callable[[], object]]:
        text = body[len("returns=") :]
        at = self.start + len("returns=")
        if not text.strip():
            self.refuse("a value is missing", None, at, "Write returns=None, or any literal")
        node = self._tree(text.strip(), at + len(text) - len(text.lstrip()))
        written = ast.unparse(node)

        def build() -> object:
            return literal(node, [errno])

        try:
            build()
        except (ValueError, LookupError):
            self.refuse(
                "not a literal", text.strip(), at, "Write one, such as None, -1, b'' or ENOSPC"
            )
        return f"returns={written}", build

    def _tree(self, source: str, at: int) -> ast.expr:
        try:
            return ast.parse(source, mode="eval").body
        except SyntaxError as error:
            self.refuse("this cannot be read", error.msg, at + (error.offset or 1) - 1, _FORMS)
        except (ValueError, RecursionError, MemoryError) as error:
            self.refuse("this cannot be read", str(error), at, _FORMS)

    # -- exceptions --------------------------------------------------------------------

    def exception(self, body: str) -> tuple[str, Callable[[], BaseException]]:
        name = _NAME.match(body)
        if name is None:
            self.refuse("not a fault", body or None, self.start, _FORMS)
        rest = body[name.end() :]
        if rest and not rest.startswith("("):
            self.refuse("not a fault", rest, self.start + name.end(), _FORMS)
        if not rest and CONSTANT.match(name[0]) and not hasattr(builtins, name[0]):
            number = getattr(errno, name[0], None)
            if number is None:
                self.refuse(
                    "no such error number",
                    name[0],
                    self.start,
                    _near(name[0], errno.errorcode.values()),
                )
            return os_error(OSError, cast(int, number))
        cls = self._class(name[0])
        return self._call(cls, rest, self.start + name.end())

    def _class(self, name: str) -> type[BaseException]:
        found: object = getattr(builtins, name, None)
        if found is None:
            module, colon, path = name.partition(":")
            if not colon:
                module, _, path = name.rpartition(".")
            if not module:
                known = (each for each in dir(builtins) if is_exception(getattr(builtins, each)))
                self.refuse("no such exception", name, self.start, _near(name, known))
            found = self._imported(module, path)
        if not is_exception(found):
            self.refuse("this is no exception", name, self.start, "Name a class of exceptions")
        return cast(type[BaseException], found)

    def _imported(self, module: str, path: str) -> object:
        try:
            found: object = import_module(module)
        except Exception as error:  # whatever a module of the user's raises
            self.refuse(
                f"the module {module} cannot be imported: {type(error).__name__}: {error}",
                f"{module}.{path}",
                self.start,
                "Name a module and a class in it, as mypkg.errors:Busy",
            )
        for part in path.split("."):
            holder, found = found, getattr(found, part, None)
            if found is None:
                known = (each for each in dir(holder) if is_exception(getattr(holder, each, None)))
                self.refuse(f"{module} has no such exception", path, self.start, _near(part, known))
        return found

    def _call(
        self, cls: type[BaseException], rest: str, at: int
    ) -> tuple[str, Callable[[], BaseException]]:
        call = self._tree(f"f{rest or '()'}", at - 1)
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            self.refuse("not a fault", rest, at, _FORMS)
        modules = [errno] if issubclass(cls, OSError) else []
        modules += [module] if (module := sys.modules.get(cls.__module__)) else []
        given: list[tuple[str | None, ast.expr]] = [
            *((None, node) for node in call.args),
            *((keyword.arg, keyword.value) for keyword in call.keywords),
        ]
        for keyword, node in given:
            if isinstance(node, ast.Starred) or (keyword is None and node not in call.args):
                self.refuse("not a literal", ast.unparse(node), at, "Give each argument by itself")
            self._check_argument(node, modules, at + node.col_offset - 1)
        if is_numbered(cls) and not given:
            if cls is OSError:
                self.refuse(
                    "no number is given, and in life there always is one",
                    cls.__name__,
                    self.start,
                    "Write OSError(EIO), or another number",
                )
            if cls in USUAL:
                return os_error(cls, USUAL[cls])
        if is_numbered(cls) and len(given) == 1 and given[0][0] is None:
            number = literal(given[0][1], modules)
            if isinstance(number, int):
                return self._numbered(cls, number, at)
        arguments = [ast.unparse(node) for node in call.args]
        arguments += [f"{each.arg}={ast.unparse(each.value)}" for each in call.keywords]
        name = public_name(cls) or f"{cls.__module__}:{cls.__qualname__}"
        written = f"{name}({', '.join(arguments)})" if arguments else name

        return self.built_by(
            cls,
            written,
            lambda: cls(
                *(literal(node, modules) for node in call.args),
                **{str(each.arg): literal(each.value, modules) for each in call.keywords},
            ),
        )

    def built_by(
        self, cls: type[BaseException], written: str, make: Callable[[], BaseException]
    ) -> tuple[str, Callable[[], BaseException]]:
        try:
            built: object = make()
        except Exception as error:  # whatever a class of the user's raises
            self.refuse(
                f"the exception cannot be built: {type(error).__name__}: {error}",
                written,
                self.start,
                f"Give the arguments that it takes, as {written.partition('(')[0]}('text')",
            )
        if not isinstance(built, BaseException):
            self.refuse("calling this gives no exception", written, self.start, "Name another")
        return written, lambda: like_sqlite(make())

    def _check_argument(self, node: ast.expr, modules: list[Any], at: int) -> None:
        try:
            literal(node, modules)
        except LookupError:
            known = {name for module in modules for name in dir(module) if CONSTANT.match(name)}
            name = ast.unparse(node).lstrip("-")
            self.refuse("no such number", name, at, _near(name, known))
        except ValueError:
            self.refuse(
                "not a literal", ast.unparse(node), at, "Write text in quotes, numbers as they are"
            )

    def _numbered(
        self, cls: type[BaseException], number: int, at: int
    ) -> tuple[str, Callable[[], BaseException]]:
        real = type(OSError(number, ""))
        if not issubclass(real, cls):
            self.refuse(
                f"this number never comes as a {cls.__name__}",
                errno.errorcode.get(number, number),
                at + 1,
                f"Write OSError({errno.errorcode.get(number, number)})",
            )
        return os_error(cls, number)


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, sorted(set(known)), n=3, cutoff=0.6)
    return f"Perhaps {' or '.join(close)} is meant" if close else _FORMS
