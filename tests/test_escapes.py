"""Names of users are shown as they are by terminals, Markdown, LaTeX and spreadsheets, and command none of them."""

import csv
import io
import unicodedata

import pytest

from randhead.escapes import csv_text, latex, markdown, printable
from randhead.tables import Table

NAMES = (
    "$5_$10",
    "a|b",
    "*bold*",
    "`code`",
    "<script>alert(1)</script>",
    "a_b",
    "_a_",
    "# x",
    "- x",
    "1. x",
    "\\",
    "~&%",
)
COMMANDS = (
    "\x1b]0;PWNED\x07",
    "\x1b[2J",
    "\x9b2J",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "\u200f",
    "\u2028",
    "\r",
    "\udcff",
)


@pytest.mark.parametrize("text", COMMANDS, ids=ascii)
def test_no_control_character_is_printable(text):
    shown = printable(f"a{text}b\n")
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("unicode_escape", "surrogatepass") == f"a{text}b\n"  # and nothing is lost
    assert printable(f"a{text}\nb", lines=True).count("\n") == 1


@pytest.mark.parametrize("text", ["猫", "Ünïcödé", "می‌خواهم", "👩‍🔬", "a b"])
def test_letters_of_all_scripts_stay(text):
    assert printable(text) == text


def test_a_version_is_no_item_of_a_list():
    assert markdown("0.1.0") == "0.1.0"
    assert markdown("1. a") == "1\\. a" and markdown("1.") == "1\\."


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_markdown_is_one_line_without_markup(name):
    shown = markdown(f"{name}\nb")
    assert "\n" not in shown and "|" not in shown and "<" not in shown
    unescaped = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&#124;", "|").replace("&amp;", "&")
    out, letters = [], iter(unescaped)
    for letter in letters:  # what CommonMark reads: a backslash before punctuation is not shown
        following = next(letters) if letter == "\\" else ""
        out.append(following if following and not following.isalnum() else letter + following)
    assert "".join(out) == f"{name}\\nb"


def test_a_name_in_latex_has_no_command():
    assert latex(r"50%_a&b$c#{d}~^\end") == (
        r"50\%\_a\&b\$c\#\{d\}\textasciitilde{}\textasciicircum{}\textbackslash{}end"
    )


@pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1"])
def test_a_name_in_csv_is_no_formula(name):
    ((cell, number, text),) = csv.reader(io.StringIO(csv_text([[name, -0.5, "-0.5"]])))
    assert cell.startswith("'") and cell[1:].strip().startswith(printable(name).strip())
    assert (number, text) == ("-0.5", "-0.5")


def test_csv_keeps_numbers_and_names_exact():
    rows = [["a,b", 'say "x"', "two\nlines"], [1 / 3, -1e-30, 7]]
    assert list(csv.reader(io.StringIO(csv_text(rows)))) == [rows[0], [repr(1 / 3), "-1e-30", "7"]]


def test_tables_show_no_control_character():
    table = Table("t", ("class",), (("\x1b[2J\u202e",),))
    assert not [c for c in table.to_html() if unicodedata.category(c) in ("Cc", "Cf")]
