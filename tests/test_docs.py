"""What the documents show is what happens: their Python runs, their console output is real.

How a page is read:

- a ``python`` block after ``<!-- file: NAME -->`` is written to that file;
- any other ``python`` block runs, in order, in one namespace for the page;
- a ``console`` block has commands (``$ ...``) and what they print. A line ``...`` stands
  for any number of lines. Times, versions and machine-dependent header lines do not count.

Blocks of other languages are not looked at. ``python tests/test_docs.py`` writes the console
blocks of all pages anew.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import faultinject as fi

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"(?:<!-- file: (?P<file>\S+) -->\n+)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    text: str
    line: int
    file: str | None = None


def blocks_of(text: str) -> list[Block]:
    return [
        Block(
            found["language"],
            found["text"],
            text.count("\n", 0, found.start("text")) + 1,
            found["file"],
        )
        for found in FENCE.finditer(text)
    ]


def commands_of(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines it should print."""
    commands: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            commands[-1][1].append(line)
    return commands


def normal(line: str) -> str:
    """A line without what differs from run to run, or from machine to machine."""
    line = re.sub(r"\b\d+(\.\d+)?(ms|s)\b", "0s", line.rstrip())
    line = re.sub(r"0x[0-9a-f]{6,}", "0xADDRESS", line)
    return re.sub(r"^=+ (.*?) =+$", r"= \1 =", line)


# What the command `pytest` does; `python -m pytest` would show in the replay lines.
COMMAND_PYTEST = "import sys; sys.argv[0] = 'pytest'; import pytest; sys.exit(pytest.main())"

IGNORED = re.compile(r"^(platform|rootdir:|plugins:|cachedir:|configfile:|asyncio:)")


def matches(expected: list[str], actual: list[str]) -> bool:
    """Whether `actual` is `expected`, where ``...`` stands for any number of lines."""
    if not expected:
        return not actual
    if expected[0] == "...":
        return any(matches(expected[1:], actual[skip:]) for skip in range(len(actual) + 1))
    return bool(actual) and expected[0] == actual[0] and matches(expected[1:], actual[1:])


def shown(text: str | list[str]) -> list[str]:
    lines = text.splitlines() if isinstance(text, str) else text
    kept = [normal(line) for line in lines if not IGNORED.match(line)]
    while kept and not kept[-1]:
        kept.pop()
    return kept


def execute(command: str, folder: Path) -> str:
    """Run one command of a page in `folder`, with no plugin but ours."""
    words = shlex.split(command, comments=True)
    if words[0] == "pytest":
        words[:1] = [sys.executable, "-c", COMMAND_PYTEST, "-p", "pytest_faultinject.plugin"]
    elif words[0] == "python":
        words[0] = sys.executable
    elif words[0] == "faultinject":
        words[:1] = [sys.executable, "-m", "faultinject"]
    else:
        pytest.fail(f"a page shows a command that its test does not know: {command}")
    environment = {
        name: value
        for name, value in os.environ.items()
        # What changes the width, the colours or the length of pytest's lines.
        if not name.startswith("PYTEST_") and name not in {"CI", "BUILD_NUMBER", "FORCE_COLOR"}
    }
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "80", "NO_COLOR": "1"}
    ended = subprocess.run(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ended.stdout.replace(f"{folder}{os.sep}", "")


def refreshed(text: str, folder: Path) -> str:
    """The text of a page, with what its commands print today."""

    def block(found: re.Match[str]) -> str:
        if found["file"]:
            (folder / found["file"]).write_text(found["text"], encoding="utf-8")
        if found["language"] != "console":
            return found[0]
        lines = []
        for command, _ in commands_of(found["text"]):
            printed = execute(command, folder).rstrip().splitlines()
            lines += [f"$ {command}", *(line.rstrip() for line in printed)]
        return "\n".join(["```console", *lines, "```"])

    return FENCE.sub(block, text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_really_happens(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": page.stem}

    with fi.use_memory(fi.Memory()):
        for block in blocks_of(page.read_text(encoding="utf-8")):
            where = f"{page.relative_to(ROOT)}:{block.line}"
            if block.file is not None:
                (tmp_path / block.file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / block.file).write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                # Line numbers of a traceback are those of the page.
                source = "\n" * (block.line - 1) + block.text
                exec(compile(source, str(page), "exec"), namespace)
            elif block.language == "console":
                for command, expected in commands_of(block.text):
                    actual = execute(command, tmp_path)
                    assert matches(shown(expected), shown(actual)), (
                        f"{where}: `{command}` prints something else:\n{actual}"
                    )


def test_the_first_test_of_the_readme_is_the_example() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = next(block for block in blocks_of(readme) if block.language == "python")

    example = (ROOT / "examples" / "first_fault" / "test_first_fault.py").read_text("utf-8")

    assert first.text == example


def test_dots_stand_for_any_number_of_lines() -> None:
    assert matches(["a", "...", "d"], ["a", "b", "c", "d"])
    assert matches(["...", "d"], ["d"])
    assert not matches(["a", "..."], ["b"])
    assert not matches(["a"], ["a", "b"])


def test_a_block_knows_its_line_and_its_file() -> None:
    page = "Text.\n\n<!-- file: test_a.py -->\n```python\nx = 1\n```\n\n```console\n$ pytest\n```\n"

    assert blocks_of(page) == [
        Block("python", "x = 1\n", 5, "test_a.py"),
        Block("console", "$ pytest\n", 9),
    ]


def test_a_console_block_is_commands_with_their_output() -> None:
    assert commands_of("$ one\na\nb\n$ two\n") == [("one", ["a", "b"]), ("two", [])]


if __name__ == "__main__":
    for page in PAGES:
        with tempfile.TemporaryDirectory() as name:
            written = page.read_text(encoding="utf-8")
            page.write_text(refreshed(written, Path(name)), encoding="utf-8")
