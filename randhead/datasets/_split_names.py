"""Which split the name of a folder stands for: train, Training, train_set, TestImages, seg_train, val2017, ..."""

import re
from dataclasses import dataclass

WORDS = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "eval": "eval",
    "evaluation": "eval",
    "evaluate": "eval",
    "holdout": "eval",
}
NOISE = {
    *("set", "sets", "data", "dataset", "datasets", "image", "images", "img", "imgs", "photo", "photos", "picture"),
    *("pictures", "sample", "samples", "file", "files", "folder", "folders", "split"),
}
GLUED = re.compile(rf"({'|'.join(sorted(WORDS, key=len, reverse=True))})(?:set|data|images?|imgs?|)")

IMAGES = {"data", "image", "images", "img", "imgs", "photos", "pictures"}  # names of folders with all of the images
NO_CLASSES = IMAGES | {  # folders of sets for detection and segmentation
    *("annotation", "annotations", "imagesets", "jpegimages", "label", "labels", "mask", "masks"),
    *("segmentationclass", "segmentationobject", "trimaps"),
}


@dataclass(frozen=True)
class SplitName:
    """A name with the word of a split in it.

    Attributes:
        split: "train", "val", "test", or "eval" for the words that mean either of the last two.
        rest: the other words, without those such as "set" and "images"; empty if the name says nothing else.
    """

    split: str
    rest: tuple[str, ...]


def split_name(name: str) -> SplitName | None:
    """The split in a name; None if there is no word of a split in it, or more than one.

    Example:
        >>> split_name("Training_Set"), split_name("seg_test"), split_name("trains")
        (SplitName(split='train', rest=()), SplitName(split='test', rest=('seg',)), None)
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", name)
    joined = re.sub(r"(?:held|hold)[\W_]*out", "holdout", spaced.lower())
    splits, rest = [], []
    for word in filter(None, re.split(r"[\W_]+", joined)):
        if glued := GLUED.fullmatch(word):
            splits.append(WORDS[glued[1]])
        elif word not in NOISE:
            rest.append(word)
    return SplitName(splits[0], tuple(rest)) if len(splits) == 1 else None
