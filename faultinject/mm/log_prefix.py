"""The prefix of a log line: what syslog, dmesg and their like write before the kernel's text.

Lives here: taking it off, and what it tells about who printed the line; and the colours
of a terminal, which may be anywhere in a text. Not here: what the text means
(`faultinject.mm.mem_info`, `faultinject.klog.headers`).

Known forms, alone and one after the other: quoting (``> ``, ``| ``) and indentation;
priorities (``<4>``, ``kern  :warn  : ``, ``kern.warn``); records of /dev/kmsg and
netconsole (``4,1234,5678,-;``); the date, host and tag of syslog, rsyslog, busybox,
journalctl and logcat; dmesg's time (``[ 1234.567890]``, ``-T``, ``-d``, ``-H``,
``--time-format=iso``) and the number of the task or CPU that printed (``[ T5241]``). Before
them: the name of a service, a pod or a host (docker compose, kubectl, stern, pdsh, Talos),
the time of a serial console, the file and line of grep. A log may also be JSON, an object on
each line, or the fields of journalctl's export.
"""

from __future__ import annotations

import json
import re
from typing import Final

# dmesg and journalctl write months and days in the language of whoever asked; where only these
# words tell a date from the kernel's text, they are those of syslog, which are English.
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?"
_ISO = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK}(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?"
_DMESG_TIME = r"\[[ ]*[0-9]+\.[0-9]+(?:[ ]<[ ]*\+?[0-9.]+>)?\]"

# Who logged: a host, a facility, and the kernel. A word alone may be the kernel's text.
_TAG = r"""
    (?:[\w.:-]+[ ])?(?:[a-z0-9]+\.[a-z]+[ ])?(?:kernel|klogd|vmunix)(?:\[[0-9]+\])?
    (?::|[ ]-[ ]-[ ]-)[ ]?
"""
_PART = rf"""
    <[0-9]{{1,3}}>1?[ \t]*
    |(?:{_DAY}[ ])?{_MONTH}[ ][ 0-9][0-9][ ](?:[0-9]{{4}}[ ])?{_CLOCK}[ ](?:[0-9]{{4}}[ ])?
    |{_DAY}[ ]{_ISO}[ ][A-Z]{{2,5}}[ ]
    |{_ISO}[ ](?:std(?:out|err)[ ][FP][ ])?
    |[0-9]{{9,11}}\.[0-9]{{3,9}}[ ](?=\S+[ ]kernel)
    |[0-9]{{2}}-[0-9]{{2}}[ ]{_CLOCK}[ ]+[0-9]+[ ]+[0-9]+[ ][VDIWEF][ ][^:\s]*[ ]*:[ ]
    |[a-z0-9]+[ ]*:[ ]*[a-z]+[ ]*:[ ](?=\[{_ISO}\]:)
    |[a-z0-9]+[ ]*:[a-z]+[ ]*:[ ]
    |[a-z0-9]+\.[a-z]+:[ ]
    |[0-9]+,[0-9]+,[0-9]+,[^;\s]*;
    |{_DMESG_TIME}(?:@[0-9]+)?[ ]?(?:c[0-9]+[ ]+[0-9]+[ ])?
    |\[[ ]*[+-][0-9]+\.[0-9]+\][ ]?
    |\[(?:{_ISO}|{_CLOCK})\]:?[ ]?
    |\[[^\[\]\n]{{5,24}}[ ]{_CLOCK}[ ][0-9]{{4}}\][ ]?
    |\[[^\s\[\]0-9]{{2,5}}[ ]*[0-9]{{1,2}}[ ][0-9]{{2}}:[0-9]{{2}}\][ ]?
    |[^\s\[\]:|<>]{{2,6}}[ ][ 0-9][0-9][ ]{_CLOCK}[ ](?=\S+[ ]kernel)
"""
# What collects the logs of several, and what was done with a log later. Some of it is words
# that may also be the kernel's, and counts only where the prefix of a log follows.
_COLLECTED = rf"""
    \[pod/[\w./-]+\][ ]
    |[\w.-]+[ \t]+\|[ ]
    |(?:[\w.-]+[ ]){{1,2}}(?=<[0-9]{{1,2}}>|{_DMESG_TIME})
    |(?:[\w./~-]+[:-])?(?:[0-9]+[:-])(?={_PART})
    |[0-9]+\t(?={_PART})
    |[\w./:~-]+(?::[ ]?|-)(?={_PART})
    |_*[A-Z][A-Z0-9_]+=
"""
_PREFIX: Final = re.compile(
    rf"""
    (?:[>|][ \t]?)*
    (?:[ \t]*(?P<log>
      (?:{_PART}|(?:kernel|klogd):[ ]?|{_COLLECTED})
      (?:{_PART}|\[[ ]*(?P<task>[TC][0-9]+)\][ ]?|{_TAG}|[\w.-]+[ ](?={_DMESG_TIME}))*
    ))?
    """,
    re.VERBOSE | re.ASCII,
)
# What most lines have, and nothing more of the above.
_DMESG: Final = re.compile(r"\[ *[0-9]+\.[0-9]+\] (?![\[<c]|\S+ kernel:)", re.ASCII)

# The text in a line of Docker's, of journalctl's or of a collector's.
_MESSAGE: Final = re.compile(
    r'"(?:MESSAGE|log|message|msg|textPayload)"\s*:\s*("(?:[^"\\]|\\.)*")', re.ASCII
)

# How a terminal is told colours, as written by it (ECMA-48 5.4, OSC 8), by what made the
# character visible, and by what lost it; and how a forum is told.
_ESCAPE = r"(?:\x1b|\^\[|\#033|\\(?:x1[bB]|033|e)|\N{SYMBOL FOR ESCAPE})"
_COLOURS: Final = re.compile(
    rf"""
    {_ESCAPE}\[[0-9;:?]*[A-Za-z]
    |\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)
    |\x1b[()][0-9A-Z]
    |\[[0-9]{{1,3}}(?:;[0-9]{{1,3}})*m
    |\[/?(?:COLOR|FONT|SIZE|CODE|QUOTE)(?:=[^\]\n]*)?\]
    """,
    re.VERBOSE,
)
#: One of these is in every text that has colours.
COLOURED: Final = ("\x1b", "[0m", "[/")


def without_colours(text: str) -> str:
    """Give a text without what tells a terminal, or a forum, how to show it."""
    if any(mark in text for mark in COLOURED):
        return _COLOURS.sub("", text)
    return text


def strip_prefix(line: str) -> tuple[str, str, bool]:
    """Take a line's prefix off; a line without one is all text.

    Returns:
        what the kernel printed, spaces at its beginning included; who printed it (``T5241``:
        a task, ``C3``: a CPU), or "" if the log does not tell; and whether there was a prefix
        of a log. In a log whose lines have one, a line without is the rest of the line before.
    """
    if (found := _DMESG.match(line)) is not None:
        return line[found.end() :], "", True
    if line[:1] == "{" and (found := _MESSAGE.search(line)) is not None:
        try:
            inner = str(json.loads(found[1], strict=False))
        except ValueError:
            return line, "", False
        text, task, _ = strip_prefix(inner.rstrip("\n"))
        return text, task, True
    found = _PREFIX.match(line)
    if found is None:  # pragma: no cover - every part may be missing
        return line, "", False
    log, task = found.groups()
    return line[found.end() :], task or "", bool(log)
