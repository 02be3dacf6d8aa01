"""Visible text: characters that would not show, or would mislead, written out.

A name or a message may hold anything. Lives here: what stands for the characters that no
page, and no XML file, should have.
"""

from __future__ import annotations

# Characters that would not show, or that would show the others in another order.
_INVISIBLE = {
    code: f"\N{LEFT ANGLE BRACKET}U+{code:04X}\N{RIGHT ANGLE BRACKET}"
    for code in (
        *(number for number in range(32) if chr(number) not in "\t\n"),
        *range(0x7F, 0xA0),
        *range(0x200E, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
        *range(0xD800, 0xE000),
    )
}


def visible(text: str) -> str:
    """Write out the characters of a text that would not show, or would mislead."""
    return text if text.isascii() and text.isprintable() else text.translate(_INVISIBLE)
