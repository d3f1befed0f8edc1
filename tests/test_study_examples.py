"""The studies that are shipped: every file plans its runs, and states its source, what differs and its cost."""

import re
from collections import Counter
from pathlib import Path

import pytest

from randhead.errors import UsageError
from randhead.study import claim_tables, merging, plan, reading
from randhead.study.options import designed

FOLDER = Path(__file__).parent.parent / "examples" / "studies"
FILES = sorted(path.name for path in FOLDER.glob("*.toml"))
NOT_YET = ["long-tail.toml"]


def test_the_claims_of_the_field_are_there():
    assert {"paper-cifar10", "paper-tiny", "hadamard", "simplex", "scale", "long-tail"} <= {f[:-5] for f in FILES}


@pytest.mark.parametrize("name", [name for name in FILES if name not in NOT_YET])
def test_a_shipped_study_can_be_run_and_states_where_it_is_from(name):
    study = reading.read(FOLDER / name)
    plan.check(study)
    runs = list(plan.reported_runs(study, {}))
    assert len(runs) == len(study.arms) * len(study.seeds) and len({run.name for run in runs}) == len(runs)
    assert len(study.seeds) >= 5 and study.claims
    assert study.title and study.source and study.differs and study.cost
    assert all(claim.published and claim.source for claim in study.claims)
    assert [text for text, times in Counter(claim.text for claim in study.claims).items() if times > 1] == []


@pytest.mark.parametrize("name", [name for name in FILES if name not in NOT_YET])
def test_the_smaller_study_at_the_head_of_a_file_has_its_claims(name):
    lines = [line[1:].strip() for line in (FOLDER / name).read_text(encoding="utf-8").splitlines() if line[:2] == "# "]
    path, *words = " ".join(lines).replace("\\", "").split("randhead study ")[-1].split()
    typed = [(option.removeprefix("--"), value) for option, value in zip(words[::2], words[1::2], strict=True)]
    options = {option.replace("-", "_"): value for option, value in typed if option not in ("set", "data")}
    options["set"] = [value for option, value in typed if option == "set"]
    options |= {"hold_out_classes": 3, "data": "digits"} if "data" in dict(typed) else {}  # for a folder of images
    study = reading.read(FOLDER / name)
    small = designed(study, **options)
    assert path == f"examples/studies/{name}" and small.name != study.name
    assert small.claims == study.claims and small.arms == study.arms
    assert {run.config.backbone.name for run in plan.reported_runs(small, {})} == {"small_resnet"}
    assert "file: " in small.differs and "backbone.name = small_resnet" in small.differs and not small.cost
    assert {run.config.data.train_images for run in plan.reported_runs(small, {})} <= {5_000, 10_000}


@pytest.mark.parametrize("name", NOT_YET)
def test_a_study_that_needs_what_does_not_exist_says_so(name):
    with pytest.raises(UsageError, match=r"it cannot be run yet: it needs a long-tailed"):
        reading.read(FOLDER / name)


@pytest.mark.parametrize("name", FILES)
def test_the_head_of_a_file_shows_how_to_run_it(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert all(len(line) <= 120 for line in text.splitlines())
    assert name in NOT_YET or re.search(rf"^#     randhead study examples/studies/{name}$", text, re.MULTILINE)


def test_the_study_to_begin_with_can_be_run(tmp_path):
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    study = reading.read(path)
    plan.check(study)
    assert (study.name, len(study.arms), len(study.claims)) == ("mine", 3, 2)


def test_the_claims_in_the_readme_are_those_of_the_stored_results():
    found = claim_tables.of_claims(merging.merge([FOLDER / "results" / "small" / "result.json"]))
    expected = [
        f"| {row[0]} | {str(row[1]).partition('. ')[2]} | {row[2]} | {row[3]} | {row[4]} |" for row in found.rows
    ]
    lines = (FOLDER.parent.parent / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.match(r"\| [\w-]+-small \|", line)] == expected
