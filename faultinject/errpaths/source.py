"""Sources: from the bytes of a file to a tree, without importing anything.

Lives here: `Source`, a parsed file with its lines, and what may be wrong with one. Not
here: what is looked for in it (`faultinject.errpaths.find`).
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from faultinject.errpaths.path import Span, Unreadable


@dataclass(frozen=True, slots=True)
class Source:
    """A source that parses.

    Attributes:
        file: the file, as it was given.
        text: the decoded text, without a byte order mark, with plain line feeds.
        lines: the lines of `text`, as the parser counts them: a form feed ends none.
        tree: the module.
    """

    file: str
    text: str
    lines: tuple[str, ...]
    tree: ast.Module

    def line(self, number: int) -> str:
        """Give a line by its number from 1 on."""
        return self.lines[number - 1]

    def before(self, span: Span) -> str:
        """Give what stands on the first line of `span` in front of it."""
        return _cut(self.line(span.line), 0, span.column)

    def after(self, span: Span) -> str:
        """Give what stands on the last line of `span` behind it."""
        return _cut(self.line(span.end_line), span.end_column, None)

    def cut(self, span: Span) -> str:
        """Give the text of `span`."""
        if span.line == span.end_line:
            return _cut(self.line(span.line), span.column, span.end_column)
        return "\n".join(
            [
                _cut(self.line(span.line), span.column, None),
                *self.lines[span.line : span.end_line - 1],
                _cut(self.line(span.end_line), 0, span.end_column),
            ]
        )

    def keyword_line(self, keyword: str, after: int, before: int) -> int:
        """Find the line of a block's keyword, which the tree does not have.

        Args:
            keyword: ``else`` or ``finally``.
            after: the last line of what stands in front of the block.
            before: the first line of the block's statements.

        Returns:
            The line that begins with the keyword; `before` if none does.
        """
        # Only comments and blank lines can stand between, so the first match is the one.
        for number in range(after + 1, before + 1):
            if self.line(number).lstrip().startswith(keyword):
                return number
        return before


def parse(content: bytes | str, file: str) -> Source | Unreadable:
    """Decode and parse a source as Python itself would; say what is wrong if it cannot be.

    No warning is given about what stands in the source: that is for who compiles it.
    """
    text = _decode(content, file)
    if isinstance(text, Unreadable):
        return text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, file)
    except SyntaxError as error:
        return Unreadable(file, f"does not parse: {error.msg}", error.lineno or 0)
    except ValueError as error:  # Python 3.11's word for a null byte
        return Unreadable(file, f"does not parse: {error}")
    except (RecursionError, MemoryError):  # the parser's words for the same
        return Unreadable(file, "does not parse: nested too deeply")
    return Source(file, text, tuple(text.split("\n")), tree)


def digest_of(content: bytes | str) -> str:
    """Tell two contents apart."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def statements_in(node: ast.AST) -> Iterator[ast.AST]:
    """Give the statements directly inside a node, with ``except`` and ``case`` as such.

    No expression is looked into: none has statements.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield child


def span_of(first: ast.AST, last: ast.AST | None = None) -> Span:
    """Give the place of a node, or of everything from one node to another."""
    last = first if last is None else last
    line, column = _start(first)
    return Span(
        line,
        column,
        last.end_lineno,  # type: ignore[attr-defined]
        last.end_col_offset,  # type: ignore[attr-defined]
    )


def span_of_block(statements: Sequence[ast.stmt]) -> Span:
    """Give the place of a block's statements."""
    return span_of(statements[0], statements[-1])


def last_line(nodes: Sequence[ast.AST]) -> int:
    """Give the line on which the last of some nodes ends."""
    lines: list[int] = [node.end_lineno for node in nodes]  # type: ignore[attr-defined]
    return max(lines)


def _start(node: ast.AST) -> tuple[int, int]:
    # A decorated definition begins with its first decorator, whose `@` the tree leaves out.
    decorators = getattr(node, "decorator_list", None)
    if decorators:
        return decorators[0].lineno, node.col_offset  # type: ignore[attr-defined]
    return node.lineno, node.col_offset  # type: ignore[attr-defined]


def _decode(content: bytes | str, file: str) -> str | Unreadable:
    if isinstance(content, str):
        text = content.removeprefix("\ufeff")
    else:
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        except SyntaxError as error:  # an unknown encoding, or bytes that no cookie explains
            return Unreadable(file, f"cannot be decoded: {error.msg}")
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError as error:
            return Unreadable(
                file,
                f"cannot be decoded as {encoding}: {error.reason}",
                content.count(b"\n", 0, error.start) + 1,
            )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _cut(line: str, start: int, end: int | None) -> str:
    if line.isascii():
        return line[start:end]
    return line.encode("utf-8", "surrogatepass")[start:end].decode("utf-8", "replace")
