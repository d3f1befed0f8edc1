"""The configuration of a run: every setting is a field with its default, its bounds and its help text.

A setting has one dotted name ("optim.lr"), which `--set`, a TOML file and error messages use.  A field with an `option`
is an option of `randhead train` too.  Settings in the section `machine` do not change the result; all others are the
identity of a run.
"""

import os
from dataclasses import dataclass, field

from randhead import registry
from randhead.arguments import DEVICES
from randhead.config import recipes
from randhead.config.setting import (
    AT_LEAST_ONE,
    BELOW_ONE,
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    WITHIN_ONE,
    Interval,
    Option,
    Section,
    require,
    setting,
)

GEOMETRIES = [name for name in registry.builtin_names("vectors") if name != "file"]
AUTO = None  # the value is chosen by the data or the device, and printed when training starts
SPLITS = ("test", "val", "train")
DATA, HEAD, TRAINING, RUN = PANELS = ("Data and network", "Head", "Training", "Run")


@dataclass(frozen=True)
class DataConfig(Section, section="data"):
    """The images, their splits and their augmentation."""

    name: str = setting(
        "digits",
        "A dataset (digits, cifar10, cifar100, ...), a folder of images (one subfolder per class) or a Python file.",
        option=Option("--data", DATA, "NAME|FOLDER"),
    )
    image_size: int | None = setting(
        AUTO,
        "Width and height of the images in pixels. auto: that of the pretrained weights, or of the run that --from "
        "continues; otherwise the size of the dataset.",
        bounds=Interval(8, 1024, unit="pixels"),
        unset="auto",
    )
    validation: float = setting(
        0.1, "Share of the training images used for validation, which selects the model.", bounds=WITHIN_ONE
    )
    split_seed: int = setting(  # apart from train.seed, so that all runs share their splits
        0, "Seed of the splits.", bounds=SEED
    )
    train_images: int | None = setting(
        None,
        "Number of training images that are used, stratified by class and drawn by data.split_seed; the validation "
        "split becomes smaller by the same factor.",
        bounds=AT_LEAST_ONE,
        later=True,
    )
    augment: str | None = setting(
        AUTO,
        "Augmentation of training images: crop (random shift, mirroring) or views (random window, colours, grey). "
        "auto: crop; views if every image is a class.",
        choices=("crop", "views"),
        unset="auto",
    )
    crop_padding: int | None = setting(  # an eighth is usual for CIFAR
        AUTO,
        "Pixels added on each side before a random crop. auto: an eighth of the image size.",
        bounds=Interval(0, 256, unit="pixels"),
        unset="auto",
    )
    flip: bool | None = setting(
        AUTO, "Mirror half of the training images. auto: yes, but not for digits.", unset="auto"
    )
    cutout: float = setting(  # at most 0.9, so that a part of every image is left
        0.0,
        "Side of a square that is blanked out in every training image at a random position, as a share of the image "
        "size; 0.25 is 8 of 32 pixels, 0 none.",
        bounds=Interval(0, 0.9),
        later=True,
    )
    normalise: str | None = setting(
        AUTO,
        "Mean and deviation that pixels are normalised by: those of the dataset, half (0.5 and 0.5) or imagenet. "
        "auto: those that the pretrained weights or the run that --from continues were trained with; otherwise "
        "dataset.",
        choices=("dataset", "half", "imagenet"),
        unset="auto",
    )
    skip_bad_images: bool = setting(
        False,
        "Leave out unreadable images instead of refusing them.",
        option=Option("--skip-bad-images", DATA, hidden=True),
    )
    labels: str = setting(
        "class",
        "Labels: class (the class of an image) or instance (every training image is its own class).",
        choices=("class", "instance"),
        option=Option("--labels", DATA, hidden=True),
    )
    hold_out_classes: str | None = setting(
        None,
        "Classes left out of training, for randhead analyze transfer: their number, drawn by data.split_seed, or "
        "their names separated by commas.",
        option=Option("--hold-out-classes", DATA, "N|NAMES", hidden=True),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.name), "data.name", "be a dataset or a folder", self.name)
        unused = self.augment == "views" and self.crop_padding is not None
        require(not unused, "data.crop_padding", "be auto with data.augment=views, which do not pad", self.crop_padding)


@dataclass(frozen=True)
class BackboneConfig(Section, section="backbone"):
    """The network that maps an image to a feature vector."""

    name: str = setting(
        "small_resnet",
        "Network from image to feature vector: small_resnet, resnet9 (fast on a GPU), resnet18, torchvision:NAME or "
        "timm:NAME.",
        family="backbones",
        option=Option("--backbone", DATA, "NAME"),
    )
    pretrained: bool = setting(
        False, "Start from the published weights of that network.", option=Option("--pretrained", DATA)
    )


@dataclass(frozen=True)
class HeadConfig(Section, section="head"):
    """The class vectors, and how features are scored against them."""

    vectors: str = setting(
        "uniform",
        "Geometry of the class vectors (how they are drawn): "
        + ", ".join(GEOMETRIES)
        + ", file:PATH or a Python file. "
        "uniform is the paper's.",
        family="vectors",
        option=Option("--vectors", HEAD, "GEOMETRY"),
    )
    scoring: str = setting(
        "dot",
        "Score of a class: the dot product (dot) or the cosine (cosine) of the feature vector and its class vector.",
        choices=("dot", "cosine"),
        option=Option("--scoring", HEAD, "dot|cosine"),
    )
    trainable: bool = setting(
        False, "Train the class vectors too, or keep them as drawn.", option=Option("--learned/--fixed", HEAD)
    )
    scale: float | None = setting(
        AUTO,
        "Logit scale (inverse temperature), which multiplies the scores. auto: 1 for dot, 16 or more for cosine.",
        bounds=POSITIVE,
        unset="auto",
        option=Option("--scale", HEAD, "NUMBER"),
    )
    learn_scale: bool = setting(False, "Train the logit scale too.")
    bias: float | None = setting(
        None,
        "Constant added to every logit. With learned class vectors it is learned too, from this value.",
        bounds=FINITE,
    )
    neck: str = setting(
        "none",
        "Layer between network and class vectors: none, linear or batchnorm. With one, features can be negative.",
        choices=("none", "linear", "batchnorm"),
        option=Option("--neck", HEAD, "LAYER"),
    )
    class_keys: str = setting(
        "index",
        "What a class vector is drawn for: the index of its class, or its name. With name, adding or reordering "
        "classes changes no vector.",
        choices=("index", "name"),
        option=Option("--class-keys", HEAD, hidden=True),
    )
    normaliser: str = setting(
        "auto",
        "Softmax method, which computes the sum over all classes: dense (all at once), streaming (in tiles, for "
        "many classes), expected (an approximation for very many) or auto (dense or streaming).",
        family="losses",
        option=Option("--normaliser", HEAD, "METHOD", hidden=True),
    )
    normaliser_tolerance: float = setting(
        0.05, "Largest error of the loss, in nats, that the softmax method expected may have.", bounds=POSITIVE
    )


@dataclass(frozen=True)
class OptimConfig(Section, section="optim"):
    """The optimiser and the schedule of its learning rate."""

    name: str = setting("sgd", "Optimiser: sgd or adamw.", choices=("sgd", "adamw"))
    lr: float = setting(0.1, "Learning rate; the largest one of a schedule.", bounds=POSITIVE)
    momentum: float = setting(0.9, "Nesterov momentum of sgd, beta1 of adamw.", bounds=BELOW_ONE)
    weight_decay: float = setting(5e-4, "Weight decay.", bounds=NOT_NEGATIVE)
    schedule: str = setting(
        "onecycle",
        "Learning rate over time: onecycle (rises, then falls), cosine (falls), plateau (falls when validation "
        "accuracy stops rising) or constant.",
        choices=("cosine", "onecycle", "plateau", "constant"),
    )
    warmup: float = setting(
        0.0,
        "Share of the training in which the learning rate first rises, linearly, before the schedule takes the rest; "
        "0.05 of 20 epochs is one warm-up epoch. onecycle rises by itself.",
        bounds=BELOW_ONE,
        later=True,
    )
    plateau_factor: float = setting(0.2, "Schedule plateau: factor on the learning rate.", bounds=WITHIN_ONE)
    plateau_patience: int = setting(
        3, "Schedule plateau: epochs without a rise before the factor is applied.", bounds=NOT_NEGATIVE
    )
    label_smoothing: float = setting(
        0.0, "Share of the target probability that is spread over all classes.", bounds=BELOW_ONE
    )
    clip_norm: float | None = setting(
        None, "Largest norm of the gradient; longer ones are scaled down.", bounds=POSITIVE
    )
    accumulate: int = setting(1, "Batches per optimiser step.", bounds=AT_LEAST_ONE)

    def __post_init__(self) -> None:
        super().__post_init__()
        both = self.warmup > 0 and self.schedule == "onecycle"
        require(not both, "optim.warmup", "be 0 with optim.schedule=onecycle, which rises by itself", self.warmup)


@dataclass(frozen=True)
class TrainConfig(Section, section="train"):
    """The length of training, the batches, the seeds and the precision."""

    epochs: int = setting(
        20, "Number of training epochs.", bounds=Interval(1, 100_000), option=Option("--epochs", TRAINING, "N")
    )
    batch_size: int = setting(
        64, "Number of images per batch.", bounds=Interval(2, 1_000_000), option=Option("--batch-size", TRAINING, "N")
    )
    seed: int = setting(
        0,
        "Seed of everything else: initial weights, order of the images, random crops.",
        bounds=SEED,
        option=Option("--seed", TRAINING, "N"),
    )
    head_seed: int = setting(0, "Seed of class vectors.", bounds=SEED, option=Option("--head-seed", HEAD, "N"))
    precision: str = setting(
        "auto",
        "Precision: fp32, bf16, or auto (bf16 if the processor is fast at it).",
        choices=("auto", "fp32", "bf16"),
        option=Option("--precision", TRAINING, hidden=True),
    )
    start_from: str | None = setting(
        None,
        "Start from the trained network of another run, whose classes may differ.",
        option=Option("--from", RUN, "RUN"),
    )


@dataclass(frozen=True)
class MachineConfig(Section, section="machine"):
    """Settings of the machine, which do not change the result and so are not part of the identity of a run."""

    device: str = setting(
        "auto",
        "Where to compute: cpu, cuda, or auto (cuda if there is a GPU).",
        choices=DEVICES,
        option=Option("--device", TRAINING, "DEVICE"),
    )
    compile: bool = setting(
        False, "Compile the network with torch.compile.", option=Option("--compile", TRAINING, hidden=True)
    )
    cuda_graphs: bool = setting(
        False,
        "On a GPU, record a step as a CUDA graph and replay it, which saves CPU time: for small networks. Off until it "
        "has been measured.",
    )
    data_root: str = setting("~/.cache/randhead", "Folder in which downloaded datasets are kept.")
    memory_budget_mb: int = setting(
        2048, "Memory for decoded images, in MiB; more images than fit are read from disk.", bounds=NOT_NEGATIVE
    )
    decoded_cache_mb: int = setting(
        20480,
        "Disk space for decoded images, in MiB, so that the next start need not decode them; 0 keeps none.",
        bounds=NOT_NEGATIVE,
    )
    workers: int = setting(2, "Threads that decode images.", bounds=Interval(1, 256))
    max_megapixels: float = setting(  # near Pillow's own limit: 256 MiB of RGB
        89.5,
        "Megapixels of the largest image file that is read; a small file can decode to very many pixels.",
        bounds=Interval(0, 1000, open_low=True),
        option=Option("--max-megapixels", DATA, "N", hidden=True),
    )
    checkpoint_minutes: float = setting(
        10.0, "Minutes between checkpoints; ends of epochs are saved as well.", bounds=NOT_NEGATIVE
    )
    checkpoint_epochs: int = setting(  # a checkpoint can take longer than an epoch on a GPU
        1,
        "Save the end of every so many epochs, and of the last one. Until the first is saved, there is no model to "
        "evaluate.",
        bounds=AT_LEAST_ONE,
    )
    keep_checkpoints: int = setting(2, "Number of checkpoints that are kept, the newest.", bounds=AT_LEAST_ONE)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            not (self.compile and self.cuda_graphs), "machine.cuda_graphs", "be false with machine.compile=true", True
        )
        user = self.data_root.partition("/")[0]
        known = len(user) < 2 or user[0] != "~" or os.path.expanduser(user) != user  # noqa: PTH111 (it raises nothing)
        require(known, "machine.data_root", "be a folder; there is no such user", self.data_root)


@dataclass(frozen=True)
class Config(Section):
    """The configuration of a run: all settings that determine it.

    Args:
        recipe: name of a set of settings that belong together; its values are in the other fields.
        data: the images, their splits and their augmentation.
        backbone: the network that maps an image to a feature vector.
        head: the class vectors, and how features are scored against them.
        optim: the optimiser and its learning rate.
        train: epochs, batches, seeds.
        machine: settings that do not change the result.

    Example:
        >>> from randhead.config import Config, HeadConfig
        >>> Config(head=HeadConfig(scoring="cosine", scale=20.0)).head.scale
        20.0
    """

    recipe: str = setting(
        "default",
        "Settings that belong together: default, paper (those of the paper's code), fair (equal for all kinds of "
        "heads), fast (equal too; resnet9 on a GPU) or finetune (for encoders that are trained already; chosen by "
        "itself with --pretrained). What you set has precedence.",
        choices=tuple(recipes.RECIPES),
        option=Option("--recipe", TRAINING, "NAME"),
    )
    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)


SECTIONS = (DataConfig, BackboneConfig, HeadConfig, OptimConfig, TrainConfig, MachineConfig)
