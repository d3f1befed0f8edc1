"""Files of the result of a study, from made-up records: every number is that of the document, every text stays text."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from html_pages import CHROMIUM, Outline, assert_whole, browse

from randhead import report
from randhead.report import canvas, exports, frame
from randhead.report.study import csv_tables, page, pictures, words
from randhead.report.study.styles import COLOURS, styles
from randhead.study import arms, claims
from randhead.study.arms import StudyArm
from randhead.study.design import Study
from randhead.study.records import RunRecord
from randhead.study.result import StudyResult
from randhead.tables import Table

EVIL = "<img src=x onerror=alert(1)> a|b `c` $x_1$ \\input{x} *d* & e"
CLAIMS = ("dot-fixed > dot-learned on accuracy by 20", "dot-fixed >= dot-learned on accuracy within 20",
          "dot-learned > dot-fixed on nll")  # fmt: skip
SEVERITIES = (1, 3, 5)


def made(name="made-up", *, arms_=arms.DEFAULT, seeds=3, epochs=8, diverged=(), texts=CLAIMS, evil="", **design):
    """A study whose numbers are a function of arms and seeds; of those in `diverged` the last run diverged."""
    found = tuple(arm if isinstance(arm, StudyArm) else arms.named(arm) for arm in arms_)
    tested = tuple(
        claims.parse(text, published=f"+1.3 points {evil}", source=f"arXiv 0000.00000 {evil}") for text in texts
    )
    study = Study(
        name, found, seeds=tuple(range(seeds)), claims=tested, corruptions=True, severities=SEVERITIES,
        title=f"Fixed against learned {evil}".strip(), differs=evil, **design,
    )  # fmt: skip
    records = [
        record(arm.name, i, seed, epochs, evil, study, failed=arm.name in diverged and seed == seeds - 1)
        for seed in study.seeds
        for i, arm in enumerate(found)
    ]
    return StudyResult(study, tuple(records), tuple(sweep(study)))


def record(arm, i, seed, epochs, evil, study, *, failed):
    random = np.random.default_rng([i, seed])
    accuracy = 0.9 + 0.01 * i + random.normal(0, 0.01)
    curve = (accuracy * (1 - 0.8 * np.exp(-np.arange(epochs) / 2))).tolist()
    metrics = {"accuracy": accuracy, "nll": 0.3 + random.normal(0, 0.01), "corruption_accuracy": accuracy - 0.2}
    return RunRecord(
        run=f"{arm}-seed{seed}-0a1b2c",
        arm=arm,
        head_seed=seed,
        seed=seed,
        tuned={key: values[0] for key, values in study.tune.items()},
        diverged=f"the loss is NaN at step 3 {evil}".strip() if failed else "",
        metrics={"converged": 0.0} if failed else {**metrics, "converged": 1.0},
        curves={"val_accuracy": tuple(curve[: 2 if failed else None]), "train_loss": tuple(1 / (1 + x) for x in curve)},
        corruptions={} if failed else {kind: tuple(accuracy - 0.1 * s for s in SEVERITIES) for kind in ("fog", "snow")},
        severities=() if failed else SEVERITIES,
        counts={"train": 1438, "val": 144, "test": 359, "classes": 10},
        images="0123",
        val={"accuracy": accuracy, "nll": 0.3},
        seconds=12.5 + seed,
        environment={"device": f"cpu {evil}".strip(), "torch": "2.14.1"},
    )


def sweep(study):
    for arm in study.arms:
        for key, values in study.tune.items():
            for value in values:
                [seed] = study.tune_seeds
                name = f"tune-{arm.name}-seed{seed}-{value}"
                val = {"accuracy": 0.9 - value, "nll": 0.3}
                yield RunRecord(
                    name, arm.name, seed, seed, {key: value}, tuning=True, val=val, images="0123", seconds=1
                )


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def numbers(line, *keys):
    return [float(line[key]) if line[key] else None for key in keys]


@pytest.fixture(scope="module")
def one():
    return made(diverged={"cosine-learned"}, tune={"optim.lr": (0.01, 0.1)})


def test_the_csv_of_arms_is_the_document_to_the_last_digit(one):
    document = json.loads(json.dumps(one.to_json()))
    found = {(line["arm"], line["metric"]): line for line in read(csv_tables.arms_csv([one]))}
    means = {(arm["arm"], key): (arm, mean) for arm in document["arms"] for key, mean in arm["metrics"].items()}
    assert found.keys() == means.keys()
    assert found["dot-fixed", "accuracy"]["unit"] == "share"  # 0.9 and not 90
    for key, (arm, mean) in means.items():
        interval = mean["interval"] or [None, None]
        wanted = [mean["mean"], mean["std"], *interval, mean["n"], len(arm["runs"]), arm["diverged"]]
        assert numbers(found[key], "mean", "std", "low", "high", "n", "runs", "diverged") == wanted
    compared = {(each["arm"], each["metric"]): each for each in document["differences"] if each["n"]}
    assert {key for key, line in found.items() if line["minus"]} == compared.keys()
    for key, each in compared.items():
        line, interval = found[key], each["interval"] or [None, None]
        wanted = [each["difference"], each["std"], *interval, each["n"]]
        wanted += [each[name] for name in ("p", "holm_p", "sign_flip_p", "pairs_needed")]
        columns = ("difference", "difference_std", "difference_low", "difference_high", "pairs")
        assert numbers(line, *columns, "p", "holm_p", "sign_flip_p", "pairs_needed") == wanted
        assert line["minus"] == "dot-learned"


def test_every_figure_can_be_traced_to_its_run_folders(one):
    found = read(csv_tables.runs_csv([one]))
    values = {(line["run"], line["metric"], line["split"]): line for line in found}
    for each in (*one.records, *one.sweep):
        for key, value in each.metrics.items():
            split = "val" if key == "converged" else "test"
            assert float(values[each.run, key, split]["value"]) == value
        line = values[each.run, "accuracy", "val"]
        assert float(line["value"]) == each.val["accuracy"] and float(line["seconds"]) == each.seconds
        assert (line["head_seed"], line["seed"]) == (str(each.head_seed), str(each.seed))
        assert (line["reported"], line["diverged"]) == ("no" if each.tuning else "yes", each.diverged)
        assert line["tuned"] == f"optim.lr={each.tuned['optim.lr']}"
    [mean] = [
        line for line in read(csv_tables.arms_csv([one])) if (line["arm"], line["metric"]) == ("dot-fixed", "accuracy")
    ]
    runs = [line for line in found if (line["arm"], line["metric"], line["split"]) == ("dot-fixed", "accuracy", "test")]
    own = [float(line["value"]) for line in runs if line["reported"] == "yes"]
    assert float(mean["mean"]) == pytest.approx(math.fsum(own) / len(own), rel=1e-12)


def test_a_run_without_any_value_has_a_line():
    lost = RunRecord("dot-fixed-seed0-0a", "dot-fixed", 0, 0, diverged="the loss is NaN")
    [line] = read(csv_tables.runs_csv([StudyResult(Study("lost"), (lost,))]))
    assert (line["run"], line["diverged"], line["metric"], line["value"]) == (lost.run, lost.diverged, "", "")


def cells(line):
    """The cells of a line of a Markdown table, as a renderer splits it."""
    return re.split(r"(?<!\\)\|", line)[1:-1]


@pytest.mark.parametrize("evil", ["", EVIL], ids=["plain", "hostile"])
def test_markdown_has_claims_first_and_tables_whose_columns_agree(evil):
    text = words.markdown([made(evil=evil, diverged={"cosine-fixed"})])
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) >= 5
    for table in tables:
        head, marks, *rows = table.splitlines()
        assert {len(cells(row)) for row in (marks, *rows)} == {len(cells(head))} and rows
        assert re.fullmatch(r"(\| -+:? )+\|", marks)
    assert "verdict" in tables[0] and tables[0].count("holds") == 1
    assert "<img" not in text and "\n\n\n" not in text
    assert "| -" in tables[2]  # a number is written as it is


def test_latex_has_the_tables_of_every_study_under_its_name(one):
    text = words.latex([one, made("other")])
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule")
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert captions[0] == "claims"
    for name in ("made-up", "other"):
        own = [caption for caption in captions if caption.startswith(f"{name}: ")]
        assert len(own) >= 4 and not any(caption.count(name) > 1 for caption in own)
    differences = [part for part in text.split(r"\begin{table}") if re.search(r"caption\{.* minus ", part)]
    assert len(differences) == 6 and all("paired t test; Holm" in part and "sign-flip" in part for part in differences)
    hostile = words.latex([made(evil=EVIL)])
    assert r"\input{x}" not in hostile and r"\textbackslash{}input\{x\}" in hostile


def test_a_table_as_markdown_escapes_words_and_keeps_numbers():
    table = Table("a|b", ("name", "x"), (("*c*|d", "-0.1 [-1.9 to +1.6]"), (None, 2.5)), ("one|two",))
    assert exports.markdown_table(table, level=3) == [
        "### a&#124;b",
        "",
        "| name | x |",
        "| --- | --- |",
        r"| \*c\*&#124;d | -0.1 [-1.9 to +1.6] |",
        "|  | 2.5 |",
        "",
        "- one&#124;two",
        "",
    ]


def test_a_study_without_a_finished_run_has_files_and_a_warning(tmp_path):
    said = []
    files = report.study.write([StudyResult(Study("new"), ())], tmp_path / "new", warn=said.append)
    assert [file.name for file in files] == ["report.html", "result.csv", "runs.csv", "result.md", "result.tex"]
    assert all(file.read_text() for file in files)
    assert said == ["study new: no reported run is done, so there are no figures"]
    assert "0 of 20 runs done" in files[0].read_text()


def linear(colour):
    """The amounts of red, green and blue light of a colour of sRGB."""
    light = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)


def simulated(colour):
    """A colour in CIELAB as people see it: with normal vision, and without one kind of cones (Machado et al. 2009)."""
    kinds = [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
    xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    seen = np.clip(np.array(kinds) @ linear(colour), 0, 1) @ np.array(xyz).T / [0.95047, 1, 1.08883]
    x, y, z = np.where(seen > 0.008856, np.cbrt(seen), 7.787 * seen + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def contrast(first, second):
    """The contrast of two colours by WCAG 2."""
    dark, light = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (first, second))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("ground", "differ", "least"), [("#ffffff", 23, 2.6), ("#1c2024", 19, 3.6)])
def test_colours_of_arms_differ_for_people_who_see_fewer_colours(ground, differ, least):
    colours = [canvas.ON_DARK.get(each, each) for each in COLOURS] if ground == "#1c2024" else COLOURS
    for first, second in combinations(colours, 2):
        assert np.linalg.norm(simulated(first) - simulated(second), axis=1).min() > differ, (first, second)
    assert min(contrast(colour, ground) for colour in colours) > least
    assert f"--card: {ground}" in (frame.TEMPLATES / "page.css").read_text()


def test_an_arm_has_one_style_and_no_two_arms_have_the_same():
    names = [f"arm{i}" for i in range(42)]
    found = styles(
        [made(arms_=[StudyArm(name, {}) for name in part], texts=(), seeds=1) for part in (names, names[::-1])]
    )
    assert list(found) == names and len(set(found.values())) == len(names)


def test_a_paired_picture_has_a_line_per_seed_and_the_means_of_the_document(one):
    picture = next(pictures.paired(one, styles([one])))
    above, below = picture.figure.axes
    grid = above.lines[0].get_ydata().reshape(3, 5)
    for seed, row in enumerate(grid):
        own = {each.arm: each for each in one.records if each.seed == seed}
        wanted = [100 * own[arm].metrics.get("accuracy", math.nan) for arm in arms.DEFAULT]
        assert row[:4] == pytest.approx(wanted, nan_ok=True) and math.isnan(row[4])
    drawn = {line.get_ydata()[0] for line in above.lines if len(line.get_ydata()) == 1}
    assert drawn == {100 * arm.means["accuracy"].value for arm in one.arms}
    drawn = {line.get_ydata()[0] for line in below.lines if len(line.get_xdata()) == 1}
    assert drawn == {0, *(100 * each.estimate.value for each in one.differences if each.metric == "accuracy")}


def test_severities_are_means_over_corruptions_and_runs_beside_paired_differences(one):
    [picture] = pictures.severities(one, styles([one]))
    above, below = picture.figure.axes
    fixed = [each for each in one.records if each.arm == "dot-fixed"]
    mean = [100 * np.mean([each.corruptions[k][s] for each in fixed for k in ("fog", "snow")]) for s in range(3)]
    assert above.lines[0].get_ydata() == pytest.approx(mean)
    [wanted] = [each.estimate for each in one.differences if (each.first, each.metric) == ("dot-fixed", "accuracy")]
    bar, dot = below.lines[:2]
    assert dot.get_ydata() == pytest.approx(100 * wanted.value)  # here severities take equally much from all
    assert bar.get_ydata() == pytest.approx([100 * wanted.interval.low, 100 * wanted.interval.high])


def test_curves_have_all_runs_a_mean_of_those_that_did_not_diverge_and_a_cross(one):
    picture = next(pictures.curves(one, styles([one])))
    axes, half = picture.figure.axes
    means = [line for line in axes.lines if not line.get_label().startswith("_")]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    learned = [each for each in one.records if each.arm == "cosine-learned"]
    assert means[3].get_ydata() == pytest.approx(
        100 * np.mean([each.curves["val_accuracy"] for each in learned[:2]], 0)
    )
    assert [(*line.get_xdata(), *line.get_ydata()) for line in crosses] == [
        (2, 100 * learned[2].curves["val_accuracy"][1])
    ]
    assert half.lines[-1].get_xdata().tolist() == [5, 6, 7, 8]


def test_svg_elements_keep_what_refers_and_lose_what_is_not_seen():
    with canvas.look():
        figure, (axes,) = canvas.panels()
        axes.plot(range(30), np.random.default_rng(0).normal(size=30), "o-")
    text = canvas.svg(figure, "a picture")
    ids = set(re.findall(r' id="([^"]+)"', text))
    assert ids == set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) and ids
    assert not re.search(r'[dxy]="[^"]*\.\d{3}', text) and not re.search(r">\s+<", text)
    marks = re.search(r'<g clip-path="[^"]*" style="[^"]*">((?:<use [^>]*>){30})</g>', text)
    assert marks and "style" not in marks[1]


@pytest.fixture(scope="module")
def one_page(one):
    return page.render([one])


@pytest.mark.slow
def test_the_page_has_every_run_claim_and_number(one, one_page):
    assert_whole(one_page)
    said = " ".join(" ".join(Outline(one_page).words).split())
    for each in (*one.records, *one.sweep):
        assert f"<code>{each.run}</code>" in one_page
        if not (each.diverged or each.tuning):
            assert f'data-value="{100 * each.metrics["accuracy"]!r}"' in one_page
    assert "diverged: the loss is NaN at step 3" in said
    for claim in one.to_json()["claims"]:
        rows = [row for row in re.findall(r"<tr><td><b>.*?</tr>", one_page, re.DOTALL) if claim["shown"] in row]
        assert any(f">{claim['verdict']}</b>" in row and claim["published"] in row for row in rows), claim
    assert re.findall(r'class="verdict (\w+)"', one_page) == ["no", "yes", "undecided"]
    for name in set(re.findall(r"var\((--on-\w+)", one_page)):
        assert re.search(rf"{name}: #[0-9a-f]{{6}};", one_page)
    design = re.search(r"<summary>made-up/study.json</summary><pre>(.*?)</pre>", one_page, re.DOTALL)
    assert Study.from_json(json.loads("".join(Outline(design[1]).words))) == one.study


@pytest.mark.slow
def test_what_users_wrote_stays_text_in_the_page():
    text = page.render([made(evil=EVIL, diverged={"dot-fixed"}, arms_=arms.DEFAULT[:2])])
    assert_whole(text)
    assert "<img" not in text
    assert "<img src=x onerror=alert(1)> a|b" in "".join(Outline(text).words)


@pytest.mark.slow
def test_a_page_of_runs_without_values_has_the_runs_and_no_empty_pictures(one):
    failed = {"metrics": {"converged": 0.0}, "corruptions": {}, "severities": (), "diverged": "the loss is NaN"}
    curves = {"val_accuracy": (None,), "train_loss": (None,)}
    lost = [replace(each, curves=curves, **failed) for each in one.records]
    cases = {"one run": one.records[:1], "lost": lost, "none": (), "no curves": [replace(lost[0], curves={})]}
    for name, records in cases.items():
        text = page.render([StudyResult(one.study, tuple(records), one.sweep)])
        assert_whole(text)
        assert all(f"<code>{each.run}</code>" in text for each in (*records, *one.sweep)), name
        assert text.count("<svg") == {"one run": 3}.get(name, 0), name
        assert text.count("undecided at n = 0") == 3 and ">-</td>" in text


@pytest.mark.slow
def test_several_studies_share_a_table_of_claims_and_the_colours_of_arms(tmp_path):
    results = [made("a", arms_=arms.DEFAULT[:2]), made("a", arms_=arms.DEFAULT[1::-1], epochs=2)]
    text = page.render(results)
    assert_whole(text)
    assert text.count('<td><a href="#study-1">a</a>') == text.count('<td><a href="#study-2">a</a>') == 3
    assert text.index('class="verdict') < text.index('id="study-1"') < text.index('id="study-2"')
    found = [re.findall(r"(#[0-9a-f]{6})[^#]*?>dot-fixed<", part) for part in text.split('class="chapter"')[1:]]
    assert styles(results)["dot-fixed"].colour == COLOURS[0] and all(found)


@pytest.mark.slow
def test_a_page_of_a_hundred_runs_is_below_a_megabyte():
    names = [f"{kind}-{geometry}" for kind in ("dot-fixed", "cosine-fixed") for geometry in ("simplex", "hadamard")]
    text = page.render([made(arms_=(*arms.DEFAULT, *names), seeds=13, epochs=24)])
    assert len(text.encode()) < 1e6


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_has_nothing_to_complain_of_and_nothing_is_too_wide_for_a_phone(one_page, tmp_path):
    script = """<script>
    for (const folded of document.querySelectorAll("details")) folded.open = true;
    const table = [...document.querySelectorAll("table")].find((t) => t.tHead.textContent.includes("seconds"));
    const head = [...table.tHead.rows[0].cells].find((c) => c.textContent.startsWith("accuracy"));
    head.querySelector("button").click();
    const cells = [...table.tBodies[0].rows].map((r) => r.cells[head.cellIndex].dataset.value).filter((v) => v);
    const rises = cells.every((v, i) => i == 0 || Number(cells[i - 1]) <= Number(v));
    document.title = [rises, cells.length, document.documentElement.scrollWidth <= window.innerWidth].join(" ");
    </script></body>"""
    path = tmp_path / "report.html"
    path.write_text(one_page.replace("</body>", script), encoding="utf-8")
    said, then = browse(path, tmp_path, "--window-size=390,900", "--dump-dom")
    assert "CONSOLE" not in said, said
    assert "<title>true 11 true</title>" in then
