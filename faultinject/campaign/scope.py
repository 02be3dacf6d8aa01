"""Scope: whose code is under test.

Lives here: `Scope`, which finds the frame that a call belongs to. For the model
memory that is every caller outside faultinject, unless sources narrow it. Not
here: the kernel's require/reject filter, which looks at the whole stack and
belongs to the rule (`faultinject.callsite.StackFilter`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import CodeType, FrameType

from faultinject.callsite import Pattern, caller_frame
from faultinject.errors import UsageError

# How far up the nearest frame under test is looked for; the kernel's MAX_STACK_TRACE_DEPTH.
MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Source:
    """One source or omission: a package, module, function pattern, file or folder.

    A text with a ``/``, or one that ends in ``.py`` or names something that
    exists below `root`, is a path; anything else is a module pattern.
    """

    text: str
    folder: str | None
    pattern: Pattern | None

    @classmethod
    def parse(cls, text: str, *, root: str, option: str) -> Source:
        """Read one source.

        Args:
            text: a package (``mypkg``), function (``mypkg.cache:LRU.put``), file or folder.
            root: the folder that relative paths start from.
            option: who is asking, for the error.

        Raises:
            UsageError: an empty text, or a path that does not exist.
        """
        stripped = text.strip()
        if not stripped:
            raise UsageError(
                "a source is empty", where=option, cure="Name a package, module, file or folder"
            )
        path = os.path.normpath(os.path.join(root, stripped))
        if os.path.isdir(path) and ("/" in stripped or not _importable(stripped, root)):
            return cls(stripped, path + os.sep, None)
        has_range = ".py:" in stripped
        looks_like_path = (os.sep in stripped or stripped.endswith(".py")) and not has_range
        if looks_like_path and not any(wildcard in stripped for wildcard in "*?"):
            if not os.path.exists(path):
                raise UsageError(
                    "no such file or folder",
                    value=stripped,
                    where=option,
                    cure="Give a path below the root folder, or a package by its dotted name",
                )
            return cls(stripped, path, None)
        return cls(stripped, None, Pattern.parse(stripped))

    def covers(self, module: str, function: str, filename: str, line: int) -> bool:
        """Say whether a frame lies in this source."""
        if self.folder is not None:
            return filename == self.folder or (
                self.folder.endswith(os.sep) and filename.startswith(self.folder)
            )
        assert self.pattern is not None
        return self.pattern.matches(module, function, filename, line)


def _importable(name: str, root: str) -> bool:
    """Say whether a bare word that is also a folder names a package of that folder."""
    return os.path.exists(os.path.join(root, name, "__init__.py"))


@dataclass(slots=True)
class Scope:
    """The code under test: everything outside faultinject, or what `sources` name.

    `omit` wins over `sources`. With sources, a call belongs to the nearest frame
    inside them, at most `MAX_DEPTH` frames up; without such a frame it is nobody's
    and is neither counted nor failed.
    """

    sources: tuple[Source, ...] = ()
    omit: tuple[Source, ...] = ()
    # Keyed by the identity of a code object, which is kept alive: its hash is slow.
    _known: dict[int, tuple[CodeType, bool]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def parse(
        cls,
        sources: Iterable[str] = (),
        omit: Iterable[str] = (),
        *,
        root: str | None = None,
        option: str = "source",
        omit_option: str = "",
    ) -> Scope:
        """Read sources and omissions as the options spell them.

        Args:
            sources: see `Source.parse`.
            omit: likewise.
            root: the folder that relative paths start from; the current one by default.
            option: who is asking for the sources, for the error.
            omit_option: the same of the omissions, if its name is not like the other's.
        """
        omitting = omit_option or option.replace("source", "omit")
        base = root or os.getcwd()
        return cls(
            tuple(Source.parse(text, root=base, option=option) for text in sources),
            tuple(Source.parse(text, root=base, option=omitting) for text in omit),
        )

    def frame_under_test(self, frame: FrameType | None) -> FrameType | None:
        """Find the frame, from `frame` outwards, to which a call belongs.

        That is the nearest one in a source, or `frame` itself where there are no
        sources; None if there is none, or if it is left out by an omission.
        """
        if not self.sources:
            left_out = self.omit and frame is not None and not self.covers(frame)
            return None if left_out else frame
        depth = 0
        while frame is not None and depth < MAX_DEPTH:
            if self.covers(frame):
                return frame
            if self.omit and self._is_omitted(frame):
                return None
            frame = caller_frame(frame.f_back) if frame.f_back is not None else None
            depth += 1
        return None

    def covers(self, frame: FrameType) -> bool:
        """Say whether this very frame is under test."""
        code = frame.f_code
        if any(source.pattern is not None for source in (*self.sources, *self.omit)):
            # A pattern may name lines, so the answer can differ inside one code object.
            return self._decide(frame)
        known = self._known.get(id(code))
        if known is None:
            known = self._known[id(code)] = (code, self._decide(frame))
        return known[1]

    def _decide(self, frame: FrameType) -> bool:
        if caller_frame(frame) is not frame:
            return False  # faultinject itself
        where = _where(frame)
        if any(source.covers(*where) for source in self.omit):
            return False
        return not self.sources or any(source.covers(*where) for source in self.sources)

    def _is_omitted(self, frame: FrameType) -> bool:
        """Say whether a frame is in a source, and in an omission as well."""
        where = _where(frame)
        return all(
            any(source.covers(*where) for source in sources)
            for sources in (self.sources, self.omit)
        )


def _where(frame: FrameType) -> tuple[str, str, str, int]:
    code = frame.f_code
    return (
        str(frame.f_globals.get("__name__", "")),
        code.co_qualname,
        code.co_filename,
        frame.f_lineno or code.co_firstlineno,
    )
