"""Coloured source: each line as HTML, with a class for what a word is.

Lives here: the few classes that the style sheet has colours for. Not here: the style
sheet (``html/report.css``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from markupsafe import Markup
from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]
from pygments.token import Token  # type: ignore[import-untyped]

from faultinject.report.visible import visible

# The first that a token belongs to decides; what is in none of them keeps the text's colour.
_CLASSES = (
    (Token.Comment, "c"),
    (Token.Literal.String.Interpol, "n"),
    (Token.Literal.String, "s"),
    (Token.Literal.Number, "n"),
    (Token.Keyword, "k"),
    (Token.Operator.Word, "k"),
    (Token.Name.Decorator, "d"),
    (Token.Name.Builtin, "b"),
    (Token.Name.Exception, "b"),
    (Token.Name.Function, "f"),
    (Token.Name.Class, "f"),
)


def highlight(lines: Iterable[str]) -> list[Markup]:
    """Give each line of a Python source as HTML."""
    coloured: list[Markup] = []
    line: list[str] = []
    for kind, text in _tokens("\n".join(lines)):
        first, *others = text.split("\n")
        line.append(_marked(kind, first))
        for part in others:
            coloured.append(Markup("".join(line)))
            line = [_marked(kind, part)]
    coloured.append(Markup("".join(line)))
    return coloured


def plain(lines: Iterable[str]) -> list[Markup]:
    """Give each line as HTML without colours."""
    return [Markup(escape(visible(line), quote=False)) for line in lines]


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Give the words with their classes, "" for none, neighbours of one class together."""
    known: dict[object, str] = {}
    kept = ""
    words: list[str] = []
    # The lexer drops and adds nothing, so that its lines stay those of the file.
    for kind, word in PythonLexer(stripnl=False, ensurenl=False).get_tokens(text):
        if kind not in known:
            known[kind] = next((name for token, name in _CLASSES if kind in token), "")
        if known[kind] != kept:
            yield kept, "".join(words)
            kept, words = known[kind], []
        words.append(word)
    yield kept, "".join(words)


def _marked(name: str, text: str) -> str:
    shown = escape(visible(text), quote=False)
    return f'<i class="{name}">{shown}</i>' if name and text else shown
