"""Fonts for the letters of names: Matplotlib's own font has no Chinese, Japanese or Korean ones."""

import functools
import unicodedata
from collections.abc import Iterator

from randhead.report._matplotlib import FT2Font, fontManager, quiet

OWN = "DejaVu Sans"  # comes with Matplotlib
# Tried first, as they have many letters and are widespread on Linux, Windows or macOS.
WIDESPREAD = (
    "noto sans cjk",
    "noto sans",
    "source han sans",
    "wenquanyi",
    "droid sans fallback",
    "microsoft yahei",
    "yu gothic",
    "malgun gothic",
    "pingfang",
    "hiragino",
    "apple sd gothic",
    "arial unicode",
    "segoe ui",
    "unifont",
)
# They have glyphs for all codes, which are boxes; glyphs for other codes than those of Unicode; or coloured bitmaps.
UNUSABLE = (
    "lastresort",
    "last resort",
    "blank",
    "notdef",
    "color",
    "cmr",
    "cmsy",
    "cmmi",
    "cmex",
    "cmss",
    "cmtt",
    "cmb",
)
WITHOUT_GLYPH = ("Cc", "Cf", "Mn", "Me", "Zs", "Zl", "Zp")  # not drawn, or drawn above other letters

_families = [OWN]  # and those that have letters of the names seen so far


def families() -> list[str]:
    """The fonts of pictures, each for the letters that those before it lack."""
    return list(_families)


@functools.cache
def can_draw(character: str) -> bool:
    """Whether a font of this system has a character; the font then belongs to `families`."""
    if unicodedata.category(character) in WITHOUT_GLYPH:
        return True
    for family in _candidates():
        if _has(family, character):
            if family not in _families:
                _families.append(family)
            return True
    return False


def _candidates() -> Iterator[str]:
    """The fonts of this system, those in use first."""
    yield from list(_families)
    yield from _others()


@functools.cache
def _others() -> tuple[str, ...]:
    names = {entry.name for entry in fontManager.ttflist} - {OWN}
    usable = [name for name in names if not any(part in name.lower().replace("-", "") for part in UNUSABLE)]
    rank = {name: [not name.lower().startswith(known) for known in WIDESPREAD] for name in usable}
    return tuple(sorted(usable, key=lambda name: (rank[name], name)))


@functools.cache
def _font(family: str) -> FT2Font | None:
    """A font, opened; None if it cannot be used: damaged, gone, or of bitmaps."""
    try:
        with quiet():
            path = next(entry.fname for entry in fontManager.ttflist if entry.name == family)
            font = FT2Font(path)
    except (OSError, RuntimeError, ValueError, StopIteration):
        return None
    return font if font.scalable else None


def _has(family: str, character: str) -> bool:
    font = _font(family)
    return font is not None and font.get_char_index(ord(character)) != 0
