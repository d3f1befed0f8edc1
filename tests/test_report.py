"""The page of an analysis: everything in it, nothing beside it, and a browser that has nothing to complain of."""

import dataclasses
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from html_pages import BROWSERS_OWN, CHROMIUM, Outline, assert_whole, browse
from PIL import Image
from pytest import approx
from sklearn.decomposition import PCA
from tiny import image_folder
from trained import command, train

from randhead import evaluation, registry, report, tables
from randhead.analyses import Findings, dynamics
from randhead.evaluation import analysis_tables, shown, training_log
from randhead.evaluation.analysis_tables import headlines, in_order
from randhead.evaluation.comparison import Arm, ArmMeans, Comparison, Difference
from randhead.evaluation.estimates import Estimate
from randhead.evaluation.measuring import metric
from randhead.intervals import Interval
from randhead.report import canvas, confusion, differences, frame, page, projections, sections
from randhead.tables import Metric, Table
from randhead.train.log import EpochMetrics

# Markup, a formula, quotes, a script that matplotlib's font lacks; in the order of their code points, as folders are.
EVIL = ("$x_1$", "<img src=x onerror=alert(1)>", 'a"b&c', "\u732b \u72ac")


pytestmark = pytest.mark.usefixtures("few_permutations")


@pytest.fixture(scope="module")
def everything(tmp_path_factory, few_permutations):
    """All analyses of a run whose class names are as bad as they come."""
    folder = tmp_path_factory.mktemp("evil")
    data = image_folder(folder / "data", classes=EVIL, images=30)
    train(folder / "runs", "run", data, head__trainable=True)
    return evaluation.analyze("all", "run", root=folder / "runs", device="cpu")


@pytest.fixture(scope="module")
def one_page(everything):
    return page.render(everything)


def test_a_page_is_whole_and_loads_nothing(one_page):
    assert_whole(one_page)


def test_names_are_shown_and_never_obeyed(one_page):
    assert "<img" not in one_page
    words = " ".join(Outline(one_page).words)
    for name in EVIL:
        assert name in words, name


def test_everything_that_applies_is_there_and_the_rest_is_named(one_page):
    for name in ("separability", "compactness", "similarity", "collapse", "dynamics", "feature-space"):
        assert f'id="{name}"' in one_page
    refused = one_page[one_page.index('id="what-does-not-apply"') :]
    for name in ("transfer", "compatibility", "seeds"):
        assert f"<td>{name}</td>" in refused
    assert "hold_out_classes" in refused
    assert "<code>hold_out_classes</code>" in refused and "`" not in refused[: refused.index("</section>")]
    assert one_page.count("<svg") == one_page.count("</figure>") >= 12


def test_pictures_take_the_colour_of_the_page(one_page):
    assert canvas.INK not in one_page
    assert "currentColor" in one_page
    assert "#ffffff" not in re.sub(r"<style>.*?</style>", "", one_page, count=1, flags=re.DOTALL)


@pytest.mark.slow
def test_all_writes_one_page_for_one_run_and_one_for_several(root, capsys, monkeypatch):
    code, out, _ = command(capsys, "analyze", "all", "fixed0", "--runs", root, "--json")
    assert code == 0
    assert set(json.loads(out)) >= {"run", "split", "separability", "collapse", "not_applicable"}
    assert (root / "fixed0" / "reports" / "report.html").read_text().startswith("<!doctype html>")
    names = ("fixed0", "learned0", "fixed1", "learned1")
    code, out, _ = command(capsys, "analyze", "all", *names, "--runs", root, "--json")
    assert code == 0
    document = json.loads(out)
    assert document["compatibility"]["recall_at_1_across_shared"] is not None
    [several] = (root / "fixed0" / "reports").glob("report-test-4runs-*.html")
    text = several.read_text()
    assert "4 runs compared" in text
    outline = Outline(text)
    assert len(set(outline.ids)) == len(outline.ids)
    shared, *each = text.split('<details class="run">')
    assert "Definitions" in shared and shared.count("<svg") > 0
    assert 'id="dynamics-of-every-run"' in shared and "Training loss, smoothed." in shared
    for run in each:
        assert "Definitions" not in run and "Training loss" not in run.replace("Training loss,", "")
        assert run.count("<svg") == 9, "what is drawn for each further run"


@pytest.mark.slow
def test_a_page_is_the_same_each_time(root):
    def make():
        return page.render(evaluation.analyze("compactness", "fixed0", root=root, device="cpu"))

    assert make() == make()


def test_an_analysis_without_a_section_is_shown_by_its_figures():
    findings = Findings({"alpha": 1.5, "beta": None})
    assert headlines("newcomer", findings) == findings.metrics
    assert list(sections.pictures("newcomer", findings, ())) == []
    assert in_order(["newcomer", "seeds", "separability"]) == ["separability", "seeds", "newcomer"]


def test_every_section_belongs_to_an_analysis(everything):
    names = {file.stem for file in Path(sections.__file__).parent.glob("*.py")} - {"__init__"}
    assert names <= set(registry.names("analyses"))
    class_names = everything.members[0].loaded.class_names
    for name, measured in everything.each[0].items():
        assert headlines(name, measured.findings), name
        shown = list(sections.pictures(name, measured.findings, class_names))
        has_section = name in names  # what has none is shown by its metrics only
        assert len({picture.name for picture in shown}) == len(shown) and bool(shown) == has_section
        for listing in sections.tables(name, measured.findings, class_names):
            assert all(len(row) == len(listing.columns) for row in listing.rows)


def test_a_heat_map_shows_similar_classes_side_by_side_with_their_names():
    order = torch.tensor([2, 0, 1])
    cosines = torch.tensor([[1, 0.1, 0.9], [0.1, 1, 0.2], [0.9, 0.2, 1]])
    arrays = {"classes": torch.tensor([0, 1, 3]), "order": order, "centred_cosines": cosines}
    arrays |= {"nearest_angle_deg": torch.ones(3)}
    picture = next(sections.pictures("separability", Findings({}, arrays), ("ant", "bee", "cow", "dog")))
    axes = picture.figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["dog", "ant", "bee"]
    assert np.allclose(axes.images[0].get_array(), cosines[order][:, order])


def test_text_in_a_heat_map_can_be_read_on_its_cell():
    matrix, texts = np.array([[-1.0, 0.0, 1.0]]), np.array([["low", "", "high"]])
    for colours, expected in (("Blues", ["#222222", "white"]), ("RdBu_r", ["white", "white"])):
        figure = canvas.heat_map(matrix, "r", "abc", label="", colours=colours, limits=(-1, 1), texts=texts)
        assert [text.get_text() for text in figure.axes[0].texts] == ["low", "high"]
        assert [text.get_color() for text in figure.axes[0].texts] == expected


def test_right_and_wrong_answers_stand_apart():
    norms = torch.cat((torch.linspace(1, 2, 60), torch.tensor([9, 9.5])))
    angles = torch.cat((torch.linspace(5, 40, 60), torch.tensor([80.0, 85.0])))
    arrays = {"norms": norms, "correct": norms < 3, "angles_deg": angles}
    arrays |= {"classes": torch.tensor([0]), "class_mean_cosines": torch.ones(1)}
    for picture in sections.pictures("compactness", Findings({}, arrays), ("a",)):
        axes = picture.figure.axes[0]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["right (n = 60)", "wrong (n = 2)"]
        assert len(axes.patches) == 1  # two answers make no histogram
        assert axes.lines[0].get_xdata().tolist() in ([9.0, 9.5], [80.0, 85.0])


def test_the_curves_of_runs_are_drawn_together():
    def found(start):
        steps = torch.arange(8)
        values = torch.linspace(start, 0.5, 8)
        logged = {"lr": values, "lr_steps": steps, "val_accuracy": values / 10, "val_accuracy_steps": steps}
        return Findings({}, {"steps": steps, "smoothed_loss": values, **logged})

    drawn = {
        picture.name: picture.figure.axes[0]
        for picture in sections.of_runs("dynamics", {"a": found(2), "_b": found(3)})
    }
    assert list(drawn) == ["loss", "val_accuracy", "lr"]
    for name, axes in drawn.items():
        in_percent = name == "val_accuracy"
        assert [line.get_ydata()[0] for line in axes.lines] == approx([20, 30] if in_percent else [2, 3])
        assert ("(%)" in axes.get_ylabel()) is in_percent
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", " _b"]
    assert sections.of_runs("compactness", {"a": found(2)}) == []


def test_principal_components_are_scikit_learns():
    random = torch.Generator().manual_seed(0)
    points, vectors = (torch.randn(n, 6, generator=random, dtype=torch.float64) for n in (40, 3))
    (found, ends), shares = projections.principal(points, vectors)
    reference = PCA(2).fit(points.numpy())
    assert np.allclose(found.abs().numpy(), np.abs(reference.transform(points.numpy())))
    assert np.allclose(ends.abs().numpy(), np.abs(reference.transform(vectors.numpy())))
    assert np.allclose(shares.numpy(), reference.explained_variance_ratio_)


def test_many_classes_and_samples_are_drawn_by_seed():
    labels = torch.arange(9000) % 50
    classes, rows = projections.choose(labels, 50, seed=3)
    assert (len(classes), len(rows)) == (projections.CLASSES, projections.SAMPLES)
    assert set(labels[rows].tolist()) == set(classes.tolist())
    again = projections.choose(labels, 50, seed=3)
    assert torch.equal(again[0], classes)
    assert torch.equal(again[1], rows)
    assert not torch.equal(projections.choose(labels, 50, seed=4)[0], classes)


def test_few_samples_can_be_embedded():
    points = torch.eye(4, dtype=torch.float64)
    found, ends = projections.t_sne(points, points[:2], seed=0)
    assert found.isfinite().all()
    assert ends.shape == (2, 2)


def two_arms(interval):
    """Arms a and b, whose x differs by 1; with an interval, two runs each."""
    a, b = (Arm("a", (0, 1)), Arm("b", (2, 3))) if interval else (Arm("a", (0,)), Arm("b", (1,)))
    n, std = (2, 0.25) if interval else (1, None)
    pairs = tuple(zip(a.indices, b.indices, strict=True))
    means = [
        ArmMeans(arm, {"x": Estimate(x, interval and Interval(x - 1, x + 1), n, std=std)})
        for arm, x in ((a, 2.0), (b, 3.0))
    ]
    return Comparison(tuple(means), (Difference(b, a, pairs, {"x": Estimate(1.0, interval, n, std=std)}),))


X = Metric("the x", "what x is", "higher")


def test_differences_are_drawn_relative_to_the_baseline():
    found = two_arms(Interval(0.5, 1.5))
    listing, _ = differences.everything(found, lambda key: X)
    assert listing.rows == (("the x \u2191", "b", 1.0, 0.25, 0.5, 1.5, 2),)
    [picture] = differences.pictures(found, ["x", "y"], lambda key: X)
    assert "95 % intervals" in picture.caption
    axes = picture.figure.axes[0]
    lines = [line.get_xdata() for line in axes.lines]
    assert [25.0, 75.0] in [list(x) for x in lines]
    assert [50.0] in [list(np.atleast_1d(x)) for x in lines]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["the x \u2191"]
    assert [text.get_text() for text in picture.figure.legends[0].get_texts()] == ["b"]


def test_a_single_pair_has_no_columns_and_no_bars_of_intervals():
    found = two_arms(None)
    for table in differences.everything(found, lambda key: X):
        assert not {"low", "high", "deviation"} & {*table.columns}
    [picture] = differences.pictures(found, ["x"], lambda key: X)
    assert "95 % intervals" not in picture.caption


def test_means_and_differences_have_the_digits_that_their_spread_leaves():
    parts = [(two_arms(Interval(0.5, 1.5)), {"x": X})]
    means = analysis_tables.means("title", parts)
    assert means.columns == ("metric", "a, 2 runs", "b, 2 runs")
    assert means.rows == (("the x \u2191", "2.00 (0.25)", "3.00 (0.25)"),)
    assert "standard deviation" in " ".join(means.notes) and "higher is better" in means.notes[0]
    [listing] = analysis_tables.differences(parts)
    assert "difference to a, paired by seed" in listing.title
    assert listing.rows == (("the x \u2191", "+1.00 [+0.50 to +1.50]"),)
    [listing] = analysis_tables.differences([(two_arms(None), {"x": X})])
    assert (listing.columns, listing.rows) == (("metric", "b, 1 pair"), (("the x \u2191", "+1"),))
    assert "interval" not in listing.title


def test_shares_are_drawn_in_points_and_what_can_be_negative_is_not_drawn():
    found = two_arms(Interval(-1.6, 3.6))
    [picture] = differences.pictures(found, ["x"], lambda key: Metric("share", "", "higher", "%"))
    axes = picture.figure.axes[0]
    assert axes.get_xlabel() == "difference, percentage points"
    assert [-100.0, 100.0] in [list(line.get_xdata()) for line in axes.lines]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["share \u2191"]
    assert not [*differences.pictures(found, ["x"], lambda key: Metric("rho", bounds=(-1, 1)))]
    [picture] = differences.pictures(found, ["x"], lambda key: X)
    assert picture.figure.axes[0].get_xlabel() == "difference, % of the mean of a"


def test_intervals_end_where_the_metric_does():
    share, rho = Metric("share", unit="%"), Metric("rho", bounds=(-1, 1))
    wide = Estimate(0.5, Interval(-0.4304, 1.264), 2, std=0.1)
    assert shown.interval_shown(share, wide) == "0 to 100"
    assert shown.interval_shown(rho, Estimate(0.7, Interval(-2.247, 3.561), 2)) == "-1.0 to 1.0"
    assert shown.interval_shown(X, wide) == "-0.43 to 1.26"
    assert shown.difference_shown(share, Estimate(-0.15, Interval(-1.506, 1.206), 2)) == "-15 [-100 to +100]"


def test_definitions_are_given_once_and_metrics_without_a_value_have_no_row():
    listing = analysis_tables.glossary([Metric("a", "the same"), X, Metric("b", "the same")])
    assert (listing.rows, listing.notes) == ((("the x", "higher", "what x is"),), ("a; b: the same",))
    found = Findings({"recall_at_1_own": 0.4175, "recall_at_1_across_shared": None})
    assert [*analysis_tables.metrics_of("compatibility", found)] != []
    table = analysis_tables.values("compatibility", analysis_tables.metrics_of("compatibility", found))
    assert table.rows == (("Recall@1, one run (%) \u2191", 41.75),)


def test_a_share_of_collapse_is_in_percent_where_its_name_says_so():
    found = Findings({"nc1": 2.0, "nc1_floor": 0.0, "nc4": 0.6, "train_nc4": 0.5, "nc4_floor": 0.0}, {})
    (table,) = sections.tables("collapse", found, ("a",))
    assert table.rows[1] == ("NC4, disagreement (%) \u2193", 60.0, 50.0, 0.0, None)
    (picture,) = sections.pictures("collapse", found, ("a",))
    below = picture.figure.axes[1]
    assert [label.get_text() for label in below.get_yticklabels()] == ["NC4, disagreement \u2193"]
    assert {0.6, 0.5} <= {line.get_xdata()[-1] for line in below.lines}


def test_everything_that_is_logged_has_a_name_and_a_unit():
    fields = {each.name for each in dataclasses.fields(EpochMetrics)} - {*training_log.NO_SERIES}
    assert fields == {*dynamics.SERIES}
    assert metric("dynamics", "val_accuracy_first").title == "val accuracy, first epoch (%) \u2191"


def test_pairs_of_runs_have_the_names_and_the_unit_of_the_analysis():
    matrix = torch.tensor([[0.5, torch.nan], [0.4175, 0.6]])
    found = Findings({}, {"recall_at_1": matrix, "map_at_r": matrix})
    [listing] = sections.tables("compatibility", found, ("a", "b"))
    assert listing.columns == ("queries", "gallery", "Recall@1 (%)", "mAP@R (%)")
    assert listing.rows[1][2] == pytest.approx(41.75)


def test_a_zero_has_no_sign_and_constants_are_not_compared():
    assert [shown.signed(x, w) for x, w in ((-0.2, 16.0), (-0.0, None), (0.0, 0.1))] == ["0", "0", "0.00"]
    assert tables.shown(-0.0) == "0"
    found = two_arms(None)
    same = replace(found, differences=(replace(found.differences[0], metrics={"x": Estimate(0.0, None, 1)}),))
    assert not [*analysis_tables.differences([(same, {"x": Metric("loss of guessing")})])]
    [listing] = analysis_tables.differences([(same, {"x": X})])
    assert listing.rows == (("the x \u2191", "0"),)


def test_pictures_in_files_name_their_run(everything, monkeypatch):
    run, titles = everything.members[0].loaded.run, []
    monkeypatch.setattr(canvas, "png", lambda figure, path: titles.append(figure.get_suptitle()) or path)
    monkeypatch.setattr(confusion, "png", canvas.png)
    for result in (
        evaluation.analyze("separability", run.path, device="cpu"),
        evaluation.evaluate(run.path, device="cpu"),
    ):
        assert report.draw(result, run, warn=lambda text: None)
    assert titles == ["run"] * 3


def test_cells_without_a_value_are_empty_and_numbers_sort_by_their_value():
    table = frame.table_html(Table("t", ("name", "value"), (("a", float("nan")), ("b", 0.123456789), ("c", None))))
    assert '<td>a</td><td class="number"></td>' in table
    assert 'data-value="0.123456789">0.1235</td>' in table


@pytest.mark.parametrize(
    ("cells", "are_numbers"),
    [
        (("0.031", "-0.7", "60"), True),
        (("+0.5", "1e-04", None), True),
        ((3, 7.0), True),
        (("7", "10"), False),  # names of classes
        (("-3.0 [-11.7 to +5.5]", "0.1"), False),
        (("0.1", "none"), False),
    ],
)
def test_columns_of_numbers_as_text_are_aligned_like_those_of_numbers(cells, are_numbers):
    table = frame.table_html(Table("t", ("value",), tuple((cell,) for cell in cells)))
    assert ('class="number"' in table) is are_numbers


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_shows_the_page_without_an_error_or_a_request(one_page, tmp_path, width, dark):
    path, shot, log = tmp_path / "report.html", tmp_path / "shot.png", tmp_path / "net.json"
    path.write_text(one_page, encoding="utf-8")
    flags = ["--force-dark-mode"] if dark else []
    said, _ = browse(
        path, tmp_path, f"--window-size={width},2000", f"--screenshot={shot}", f"--log-net-log={log}", *flags
    )
    assert "CONSOLE" not in said, said
    hosts = set(re.findall(r'"url":"(?:https?|wss?)://([^/"]*)', log.read_text()))
    assert {host for host in hosts if not host.endswith(BROWSERS_OWN)} == set()
    picture = np.asarray(Image.open(shot).convert("L"))
    assert picture.shape[1] == width
    assert (picture[:, :3].mean() < 80) == dark  # the ground
    assert picture.std() > 10  # and something on it


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_click_on_the_head_of_a_column_sorts_its_table_and_nothing_is_too_wide(one_page, tmp_path):
    script = """<script>
    for (const folded of document.querySelectorAll("details")) folded.open = true;
    const done = [];
    const check = (what, value) => done.push(what + "=" + value);
    const tables = [...document.querySelectorAll("table")];
    const table = tables.find((t) => t.rows.length > 5 && t.querySelector("th.number"));
    const head = table.querySelector("th.number"), button = head.querySelector("button");
    const cells = () => [...table.tBodies[0].rows].map((r) => r.cells[head.cellIndex].dataset.value);
    const values = () => cells().filter((v) => v).map(Number);
    const rises = (v) => v.every((x, i) => i == 0 || v[i - 1] <= x);
    button.click(); check("up", rises(values())); check("aria", head.getAttribute("aria-sort"));
    button.click(); check("down", rises(values().reverse()));
    check("wide", document.documentElement.scrollWidth <= window.innerWidth);
    check("resources", performance.getEntriesByType("resource").filter((e) => !e.name.startsWith("data:")).length);
    document.title = done.join(" ");
    </script></body>"""
    path = tmp_path / "report.html"
    path.write_text(one_page.replace("</body>", script), encoding="utf-8")
    said, page_then = browse(path, tmp_path, "--window-size=390,900", "--dump-dom")
    assert "CONSOLE" not in said, said
    assert "<title>up=true aria=ascending down=true wide=true resources=0</title>" in page_then
