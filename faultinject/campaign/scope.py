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
    ) -> Scope:
        """Read sources and omissions as the options spell them."""
        base = root or os.getcwd()
        return cls(
            tuple(Source.parse(text, root=base, option=option) for text in sources),
            tuple(
                Source.parse(text, root=base, option=option.replace("source", "omit"))
                for text in omit
            ),
        )

    def frame_under_test(self, frame: FrameType | None) -> FrameType | None:
        """Find the nearest frame, from `frame` outwards, that is under test."""
        if not self.sources and not self.omit:
            return frame
        depth = 0
        while frame is not None and depth < MAX_DEPTH:
            if self.covers(frame):
                return frame
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
        code = frame.f_code
        where = (
            str(frame.f_globals.get("__name__", "")),
            code.co_qualname,
            code.co_filename,
            frame.f_lineno or code.co_firstlineno,
        )
        if any(source.covers(*where) for source in self.omit):
            return False
        return not self.sources or any(source.covers(*where) for source in self.sources)
