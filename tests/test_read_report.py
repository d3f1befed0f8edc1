"""What reading images reports: what was left out, converted and found suspicious."""

from dataclasses import replace

import pytest

from randhead import datasets, train
from randhead.datasets import Copies, ReadReport

REPORT = ReadReport(
    images=118,
    left_out={".heic": 30, ".jpg_large": 30, "": 10},
    converted={"of 16 bits": 3, "with transparency (put on white)": 2},
    one_colour={"of 16 bits": 3, "": 1},
    copies=(Copies("test", "train", 12, 12), Copies("val", "train", 1, 4)),
    two_classes=2,
)
NOTES = (
    "70 files are no images by their ending and are left out: 30 .heic, 30 .jpg_large, 10 without",
    "converted: 3 of 16 bits, 2 with transparency (put on white)",
    "4 of 118 images have a single colour, or almost, after conversion (3 of 16 bits)",
    "12 of 12 test images are copies of training images",
    "1 of 4 validation images is a copy of training images",
    "2 of 118 images occur under two or more classes",
)


def test_a_report_says_each_thing_in_a_sentence_and_nothing_if_there_is_nothing():
    assert REPORT.notes() == NOTES
    assert ReadReport(images=10).notes() == ()
    assert REPORT.to_json()["copies"][1] == {"split": "val", "of": "train", "images": 1, "total": 4}


@pytest.mark.slow
def test_training_warns_of_each_note_before_it_starts(tmp_path):
    digits, events = replace(datasets.load("digits"), report=REPORT), []
    settings = {"train.epochs": 1, "train.batch_size": 512}
    train.fit(settings, root=tmp_path, dataset=digits, on_event=events.append, warn=lambda text: None)
    begun = next(i for i, event in enumerate(events) if isinstance(event, train.events.Started))
    assert [event.message for event in events[:begun]] == list(NOTES)
