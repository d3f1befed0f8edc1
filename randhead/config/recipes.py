"""Named sets of settings that belong together.  What the user sets has precedence over the recipe."""

from collections.abc import Callable, Mapping
from typing import Any

from randhead.config.setting import TRUE
from randhead.errors import unknown

Settings = Mapping[str, Any]


def default(chosen: Settings) -> Settings:
    """The defaults of the fields, which suit small datasets."""
    return {}


def paper(chosen: Settings) -> Settings:
    """The official code of arXiv 2011.08704 (STL-10), with its unequal settings for the four arms.

    One difference: the official code detects the plateau and selects the model on the test split; this recipe does so
    on the validation split.
    """
    dot = chosen.get("head.scoring", "dot") == "dot"
    learned = str(chosen.get("head.trainable", False)).lower() in TRUE
    return {
        "backbone.name": "resnet18",
        "data.crop_padding": 10,
        "data.flip": True,
        "data.normalise": "half",
        "head.bias": 0.01,
        "head.scale": 1.0,
        "optim.lr": 0.001 if dot and learned else 0.1,
        "optim.weight_decay": 5e-4 if dot else 0.0,
        "optim.schedule": "plateau",
        "optim.plateau_factor": 0.2,
        "optim.plateau_patience": 3,
        "train.batch_size": 32,
        "train.epochs": 80,
    }


def fair(chosen: Settings) -> Settings:
    """Equal settings in all arms: the paper's length, batches and network, one learning rate, decay and schedule."""
    return {
        "backbone.name": "resnet18",
        "optim.lr": 0.05,
        "optim.weight_decay": 5e-4,
        "optim.schedule": "cosine",
        "train.batch_size": 32,
        "train.epochs": 80,
    }


def fast(chosen: Settings) -> Settings:
    """CIFAR-10 in seconds on a GPU, equal in all arms: David Page's network and training, made for 94 % in 24 epochs.

    From "How to train your ResNet" (myrtle.ai, 2018), parts 1 to 4, and his code of that time.  He sums the loss over
    the 512 images of a batch, and divides the rate by 512 and multiplies the weight decay by 512: with our mean, that
    is a rate of 0.4 and a decay of 5e-4, of all weights.  His factor of 0.125 on the logits is in `resnet9`.

    Different here: the rate follows cosines instead of lines, with its peak after a quarter instead of a fifth of the
    training; crops are padded with zeros instead of reflections; 5 percent of the training images are for validation.
    Left out is what he added in 2019 (part 8): label smoothing, which changes confidences; frozen weights of batch
    normalisation, which with fixed class vectors would leave only biases to set the norm of features; averages of
    weights, and of predictions for mirrored images.

    With few images use smaller batches, as the rate needs its warm-up of hundreds of steps: with 60 steps in all, on
    CIFAR-10 at 8 px, learned cosine vectors went astray at first (a loss of 5.5) and had an accuracy of 32 percent, and
    fixed ones 42 (one seed); in the first 60 steps of a whole training the loss of the learned ones fell to 1.6.
    """
    return {
        "backbone.name": "resnet9",
        "data.cutout": 0.25,
        "data.validation": 0.05,
        "optim.lr": 0.4,
        "optim.weight_decay": 5e-4,
        "optim.schedule": "onecycle",
        "train.batch_size": 512,
        "train.epochs": 24,
    }


def finetune(chosen: Settings) -> Settings:
    """For an encoder that is trained already: small steps, and a warm-up while the statistics of AdamW form.

    AdamW for all networks: it fine-tunes transformers and ConvNeXt better than SGD (Kumar et al. 2022, arXiv
    2211.09359).  The rate is in common use for published weights and was not tuned.  Small encoders can take more:
    timm's test_vit, trained on five digits, reached 86 % on the other five in 300 steps at 1e-4, and 96 % at 3e-4.
    With SGD, a tenth of the default rate.
    """
    rises = chosen.get("optim.schedule", "cosine") == "onecycle"
    adamw = {"optim.name": "adamw", "optim.lr": 1e-4, "optim.weight_decay": 0.05}
    return {
        **({"optim.lr": 0.01} if chosen.get("optim.name") == "sgd" else adamw),
        "optim.schedule": "cosine",
        **({} if rises else {"optim.warmup": 0.1}),
    }


RECIPES: dict[str, Callable[[Settings], Settings]] = {
    "default": default,
    "paper": paper,
    "fair": fair,
    "fast": fast,
    "finetune": finetune,
}

NOTES = {
    "paper": "The settings of the official code, which differ between the arms: learned dot product trains with a "
    "learning rate of 0.001 and the other three with 0.1, weight decay is 5e-4 for dot product and 0 for cosine. "
    "The official code selects its model on the test split; here the validation split selects.",
    "fair": "The same settings in every arm.",
    "fast": "The same settings in every arm: David Page's training of small images on a GPU, without label smoothing.",
    "finetune": "Small steps for an encoder that was trained before.",
}


def settings(chosen: Settings) -> dict[str, Any]:
    """The chosen dotted settings over those of their recipe; pretrained weights are fine-tuned if none is chosen.

    Raises:
        UsageError: for an unknown recipe.
    """
    pretrained = str(chosen.get("backbone.pretrained", False)).lower() in TRUE
    name = chosen.get("recipe", "finetune" if pretrained else "default")
    if not isinstance(name, str) or name not in RECIPES:
        raise unknown("recipe", str(name), RECIPES)
    return {**RECIPES[name](chosen), **chosen, "recipe": name}


def changes(config: Settings) -> dict[str, Any]:
    """The dotted settings that a flat configuration has from its recipe, without those that the user set otherwise."""
    made = RECIPES[config["recipe"]](config)
    return {key: value for key, value in made.items() if config[key] == value}
