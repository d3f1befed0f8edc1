"""Pictures show names as they are, and look the same whatever the fonts and the settings of the user are."""

import base64
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

import randhead
from randhead.analyses import collapse, compactness, separability, similarity, transfer
from randhead.report import angles, canvas, confusion, fonts, projections, rasters, sections

ROOT = Path(randhead.__file__).parent
FORMULAS = ("$5_$10", r"$\frac{1}", "a_b^c", r"\alpha", "$$", "_x", "a\nb\x1b")
COUNTS = np.diag(range(1, len(FORMULAS) + 1)).tolist()
MONO_ONLY = "\u2312"  # DejaVu Sans Mono, which comes with Matplotlib too, has it; DejaVu Sans has not
NOWHERE = "\U000fffff"


@pytest.fixture
def no_fonts_yet():
    """Only Matplotlib's own font is in use."""
    before = fonts.families()
    fonts._families[:] = [fonts.OWN]
    fonts.can_draw.cache_clear()
    yield
    fonts._families[:] = before
    fonts.can_draw.cache_clear()


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text()]


def test_no_name_is_a_formula(tmp_path):
    with canvas.look():
        figure = canvas.heat_map(np.eye(7), FORMULAS, label="$x_$", colours="Blues", limits=(0, 1))
        canvas.name_run(figure, "$r_$")
    figure.canvas.draw()
    assert not any(text.get_parse_math() or text.get_usetex() for text in texts(figure))
    shown = {text.get_text() for text in texts(figure)}
    assert {"$5_$10", r"$\frac{1}", "a_b^c", r"\alpha", "$$", " _x", r"a\nb\x1b", "$x_$", "$r_$"} <= shown
    confusion.draw(tmp_path / "a.png", COUNTS, FORMULAS, run="$a_$b")


def test_numbers_of_a_logarithmic_axis_are_no_formulas():
    with canvas.look():
        figure, (axes,) = canvas.panels()
        axes.plot([1, 2], [1e-6, 10])
        canvas.log_scale(axes)
        figure.canvas.draw()
    shown = [text.get_text() for text in axes.get_yticklabels()]
    assert any(shown) and not any("$" in text for text in shown)
    assert {float(text.replace("\u2212", "-")) for text in shown if text} <= {10.0**n for n in range(-9, 5)}


THEIRS = {
    "text.usetex": True,
    "font.family": "no such font",
    "font.size": 40,
    "savefig.dpi": 10,
    "axes.facecolor": "red",
}


@pytest.mark.slow
def test_the_settings_of_the_user_have_no_say(tmp_path):
    def draw():
        return angles.draw(tmp_path / "a.png", [0, 1, 2], [3, 4], marks={"$a_$": 1.0}).read_bytes()

    plain = draw()
    with matplotlib.rc_context(THEIRS):
        assert draw() == plain
        assert matplotlib.rcParams["font.size"] == 40


def test_only_one_module_imports_matplotlib():
    """Another one would import it with the settings of the user."""
    imports = re.compile(r"^\s*(?:import|from) matplotlib", re.MULTILINE)
    assert [p.name for p in ROOT.rglob("*.py") if imports.search(p.read_text("utf-8"))] == ["_matplotlib.py"]


def test_a_letter_is_drawn_with_a_font_that_has_it(tmp_path, no_fonts_yet):
    def drawn():
        with canvas.picture(tmp_path / "a.png", 1, 1) as axes:
            axes.set_title(MONO_ONLY)
        with Image.open(tmp_path / "a.png") as image:
            return np.asarray(image.convert("L"))

    box = drawn()
    assert canvas.numbered([MONO_ONLY, "b"], pytest.fail) == (MONO_ONLY, "b")
    assert fonts.families()[0] == fonts.OWN and len(fonts.families()) == 2
    assert not np.array_equal(drawn(), box)


def test_a_class_whose_name_no_font_has_is_a_number_in_pictures_and_named_on_the_side(no_fonts_yet):
    said = []
    assert canvas.numbered(["cat", NOWHERE, "e\u0301", "a\nb"], said.append) == ("cat", "class 1", "e\u0301", "a\nb")
    (warning,) = said
    assert f"(1 {NOWHERE})" in warning
    canvas.numbered([NOWHERE] * 15, said.append)
    assert said[1].endswith("and 5 more)")


DRAW = """
import sys
from pathlib import Path
from randhead.report import angles
angles.draw(Path("a.png"), [0, 1, 2], [3, 4], marks={"$a_$": 1.0})
"""
ENVIRONMENTS = {
    "notebook": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    "bogus backend": {"MPLBACKEND": "bogus"},
    "no folder for settings": {"MPLCONFIGDIR": "/proc/nowhere", "HOME": "/proc/nowhere"},
    "matplotlibrc": {"MATPLOTLIBRC": "theirs"},
}


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_environment_prevents_or_changes_a_picture(tmp_path, environment):
    (tmp_path / "theirs").write_text("text.usetex: True\nbackend: bogus\nnonsense: 3\nfont.size: 40\n")
    pictures = []
    for more in ({}, ENVIRONMENTS[environment]):
        env = {**{k: v for k, v in os.environ.items() if not k.startswith("MPL")}, **more}
        done = subprocess.run(
            [sys.executable, "-c", DRAW], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        pictures.append((tmp_path / "a.png").read_bytes())
    assert pictures[0] == pictures[1]


# Features without variance


def degenerate():
    """Features (24, 6) of a dead encoder, of equal images, of nearly equal ones, and of one class without variance."""
    noise = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
    return {
        "dead": torch.zeros(24, 6),
        "equal": torch.full((24, 6), 3.7),
        "nearly equal": 1 + noise * 1e-7,
        "huge": noise * 1e30,
        "one dead class": torch.where(torch.arange(24)[:, None] % 3 == 0, 0.0, noise),
    }


LABELS = torch.arange(24) % 3
MEASURED = {
    "separability": lambda x, v: separability.measure(x, LABELS, class_vectors=v),
    "compactness": lambda x, v: compactness.measure(x, LABELS, class_vectors=v, predictions=LABELS * 0),
    "collapse": lambda x, v: collapse.measure(x, LABELS, class_vectors=v),
    "transfer": lambda x, v: transfer.measure(x, LABELS, train_features=x, train_labels=LABELS, episodes=5),
    "similarity": lambda x, v: similarity.measure(
        v, references={"pixels": torch.eye(3)}, class_means=torch.stack([x[k == LABELS].mean(0) for k in range(3)])
    ),
}


def test_a_sample_of_classes_is_said_by_pictures_and_tables():
    vectors, names = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), tuple("abcdefghi")
    references = {"pixels": similarity.cosines(vectors.flip(1))}
    for sample, expected in ((5, "pairs of 5 of 9 classes"), (9, "pairs of classes")):
        findings = similarity.measure(vectors, references=references, permutations=1, sample=sample)
        (table,) = sections.tables("similarity", findings, names)
        assert table.title == f"Correlations over {expected}"
        captions = [picture.caption for picture in sections.pictures("similarity", findings, names)]
        assert captions[1].startswith(f"Every {expected.replace('pairs', 'pair')}: mean images")


SEVERAL = [
    pytest.param(name, features, marks=() if (name, features) == ("separability", "equal") else pytest.mark.slow)
    for name in MEASURED
    for features in degenerate()
]


@pytest.mark.parametrize(("name", "features"), SEVERAL)
def test_features_without_variance_have_pictures_and_tables(name, features):
    findings = MEASURED[name](degenerate()[features], torch.eye(3, 6))
    for picture in sections.pictures(name, findings, "abc"):
        assert "<svg" in canvas.svg(picture.figure, picture.name)
    for table in sections.tables(name, findings, "abc"):
        assert "nan" not in table.to_html()


@pytest.mark.slow
@pytest.mark.parametrize("features", degenerate())
def test_features_without_variance_are_projected(features):
    found = projections.pictures(degenerate()[features], LABELS, torch.eye(3, 6), "abc")
    assert [picture.name for picture in found] == ["t-sne", "pca"]


def test_a_class_without_an_angle_has_no_neighbour():
    findings = separability.measure(torch.full((24, 6), 3.7), LABELS)
    every = [table for table in sections.tables("separability", findings, "abc") if table.title == "Every class"]
    assert [row[1] for row in every[0].rows] == [None] * 3


def data_uri(image):
    out = io.BytesIO()
    image.save(out, "PNG")
    return f'<image href="data:image/png;base64,\n{base64.b64encode(out.getvalue()).decode()}"/>'


def image_of(element):
    with Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", element)[1]))) as image:
        return np.asarray(image.convert("RGBA")).astype(int)


def test_pixels_of_few_colours_are_kept_and_those_of_many_change_little():
    """A heat map, and soft dots: alpha matters little where a pixel is nearly transparent."""
    values = np.random.default_rng(0).integers(0, 250, (120, 120))
    few = np.stack([values, 255 - values, values // 2, np.full_like(values, 255)], axis=2).astype(np.uint8)
    x, y = np.meshgrid(np.linspace(-1, 1, 200), np.linspace(-1, 1, 200))
    soft = np.clip(3 - 4 * np.hypot(x, y), 0, 1)
    many = np.stack([200 * soft, 90 * soft, 60 + 99 * np.abs(x), 255 * soft], axis=2).astype(np.uint8)
    for pixels, share, error in ((few, 0.9, 0), (many, 0.5, 3)):
        before = data_uri(Image.fromarray(pixels))
        after = rasters.smaller(before)
        assert len(after) < share * len(before)
        found, expected = image_of(after), pixels.astype(int)
        seen = [part[..., :3] * part[..., 3:] / 255 for part in (found, expected)]
        assert np.abs(seen[0] - seen[1]).mean() <= error


def test_a_picture_of_a_page_is_the_one_that_matplotlib_saves():
    def drawn():
        with canvas.look():
            figure, (axes,) = canvas.panels()
            axes.scatter(range(9), range(9), rasterized=True, label="dots")
            axes.legend()
        return figure

    figure, out = drawn(), io.StringIO()
    with canvas.look(), matplotlib.rc_context({"svg.hashsalt": "a"}):
        figure.savefig(out, format="svg", transparent=True, dpi=130, metadata={"Date": None, "Creator": None})
    paths = [re.findall(r' d="([^"]*)"', text) for text in (out.getvalue(), canvas.svg(drawn(), "a"))]
    assert len(paths[0]) > 5
    assert [canvas.DECIMALS.sub(r"\1", path.replace("\n", "")) for path in paths[0]] == paths[1]
