"""An analysis as CSV and LaTeX: the values of its document, and text of users that stays text."""

import csv
import io
import re

import pytest
from trained import command

from randhead import evaluation
from randhead.report import exports
from randhead.tables import Table

pytestmark = pytest.mark.usefixtures("few_permutations")


@pytest.fixture(scope="module")
def several(root):
    return evaluation.analyze("compactness", ["fixed0", "learned0", "fixed1", "learned1"], root=root, device="cpu")


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_csv_of_runs_has_every_value_of_every_run(several):
    lines = read(exports.runs_csv(several))
    document = several.to_json()
    for run, found in enumerate(document["runs"]):
        mine = {line["metric"]: line for line in lines if line["run"] == found["run"]}
        assert mine["cdnv"]["value"] == str(found["compactness"]["cdnv"])
        assert float(mine["accuracy"]["value"]) == found["accuracy"]
        assert set(mine) == {"accuracy", *found["compactness"]}
        arm = ("fixed", "learned")[run % 2]
        assert {(line["arm"], line["seed"]) for line in mine.values()} == {(arm, str(run // 2))}
    assert mine["cdnv"]["name"] == "CDNV" and mine["cdnv"]["better"] == "lower"


def test_the_csv_of_arms_has_means_and_differences_with_their_intervals(several):
    lines = {(line["arm"], line["metric"]): line for line in read(exports.arms_csv(several))}
    found = several.to_json()["comparison"]["compactness"]
    mean, difference = found["arms"][1]["figures"]["cdnv"], found["differences"][0]["figures"]["cdnv"]
    line = lines["learned", "cdnv"]
    assert [float(line[key]) for key in ("mean", "std", "low", "high")] == [
        mean["mean"],
        mean["std"],
        *mean["interval"],
    ]
    keys = ("difference", "difference_low", "difference_high")
    assert [float(line[key]) for key in keys] == [difference["difference"], *difference["interval"]]
    assert (line["minus"], line["pairs"], line["method"]) == ("fixed", "2", "student")
    assert lines["fixed", "cdnv"]["difference"] == "" and ("fixed", "accuracy") in lines


def test_tables_are_latex_whatever_the_names_of_users_are(several):
    text = exports.latex_tables(several.tables())
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") == 3
    assert r"test accuracy (\%) $\uparrow$ & " in text
    names = ("50% of a_b & $x$", "[5pt]", "-2 to", r"\input{x}")
    text = exports.latex_tables([Table("a_b", ("name", "x"), tuple((name, "-0.1 [-1.9 to +1.6]") for name in names))])
    rows = [line for line in text.splitlines() if line.endswith(r"[$-1.9$ to $+1.6$] \\")]
    assert [row.split(" & $-0.1$")[0] for row in rows] == [
        r"50\% of a\_b \& \$x\$",
        "{}[5pt]",
        "-2 to",
        r"\textbackslash{}input\{x\}",
    ]
    assert r"\caption{a\_b}" in text and r"\label{tab:randhead-1}" in text and not re.search(r"\\\\\s*\[", text)


def test_numbers_with_units_are_latex_mathematics_and_commands_have_no_quotes():
    shown = ("+1 [-34 to +36] points", "98.89 % [97.2 to 99.6]", "97.17 to 99.57 %", "measured by `randhead eval a`")
    text = exports.latex_tables([Table("t", ("x",), tuple((each,) for each in shown))])
    for line in (
        r"$+1$ [$-34$ to $+36$] points",
        r"$98.89$ \% [$97.2$ to $99.6$]",
        r"$97.17$ to $99.57$ \%",
        "measured by randhead eval a",
    ):
        assert rf"{line} \\" in text.splitlines()


@pytest.mark.usefixtures("no_pictures")
def test_files_for_other_programs_lie_beside_the_document(root, capsys):
    code, out, err = command(capsys, "analyze", "compactness", "fixed0", "--runs", root)
    assert code == 0, err
    reports = root / "fixed0" / "reports"
    assert {path.name for path in reports.glob("*.csv")} == {"analyze-compactness-test.csv"}
    assert "analyze-compactness-test.tex" in out
    code, out, _ = command(capsys, "analyze", "compactness", "fixed0", "learned0", "--runs", root)
    assert code == 0 and len(list(reports.glob("*-2runs-*.csv"))) == 2 and len(list(reports.glob("*-2runs-*.tex"))) == 1
