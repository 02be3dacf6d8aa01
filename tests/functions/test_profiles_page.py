"""The page about `fail_function` shows the profiles as they are.

``python tests/functions/test_profiles_page.py`` writes them anew.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "fail-function.md"
TABLE = ROOT / "faultinject" / "functions" / "profiles.toml"
PART = re.compile(r"(?<=stands below -->\n).*?(?=<!-- end of the profiles -->)", flags=re.DOTALL)


def titles() -> dict[str, str]:
    """What each profile is about, by the headings of the table's file."""
    return dict(re.findall(r"^# -- (\w+): (.*?) -+$", TABLE.read_text("utf-8"), re.MULTILINE))


def as_markdown() -> str:
    """All profiles, a table each."""
    parts = [""]
    for name, rows in tomllib.loads(TABLE.read_text("utf-8")).items():
        parts += [f"### `{name}`: {titles()[name]}", ""]
        parts += ["| calls | errors | listed by |", "|---|---|---|"]
        for row in rows:
            calls = ", ".join(f"`{target}`" for target in row["targets"])
            errors = ", ".join(f"`{fault}`" for fault in row["faults"])
            state = f"; only if {row['only']}" if "only" in row else ""
            parts.append(f"| {calls} | {errors}{state} | {row['source']} |")
        parts.append("")
    return "\n".join([*parts, ""])


def test_the_page_has_every_row_of_every_profile() -> None:
    shown = PART.search(PAGE.read_text("utf-8"))

    assert shown is not None
    assert shown[0] == as_markdown(), f"python {Path(__file__).relative_to(ROOT)} writes it anew"


def test_every_profile_has_a_title() -> None:
    assert list(titles()) == list(tomllib.loads(TABLE.read_text("utf-8")))


if __name__ == "__main__":
    PAGE.write_text(PART.sub(lambda _: as_markdown(), PAGE.read_text("utf-8")), encoding="utf-8")
