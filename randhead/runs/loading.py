"""A run as something to use: its classifier, how its images are prepared, and the images themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from randhead import datasets
from randhead.config import Config, parse
from randhead.datasets import Dataset
from randhead.device import resolve_device, resolve_dtype
from randhead.errors import DataError, RunError, UsageError
from randhead.model import Classifier, build_model
from randhead.preprocess import Preprocess
from randhead.runs import ROOT, Run, checkpoint, find


@dataclass(frozen=True)
class LoadedRun:
    """A trained classifier with all that is needed to use it."""

    run: Run
    config: Config
    model: Classifier
    preprocess: Preprocess
    class_names: tuple[str, ...]
    image_size: int
    selected: dict[str, Any]  # epoch, val accuracy and NLL of the weights
    weights_sha256: str

    def require_classes(self) -> "LoadedRun":
        """The run itself.  Raises UsageError where its class vectors stand for images, not for classes."""
        if self.config.data.labels == "instance":
            raise UsageError(
                f"{self.run.name} has a class vector for every training image, none for a class",
                hint="use randhead eval without further options, or randhead analyze transfer",
            )
        return self


def load_run(name: str | None = None, *, root: Path | str = ROOT, device: str = "auto") -> LoadedRun:
    """The selected classifier of a run: by name, by path, or the latest.

    Raises RunError where the run is missing, not finished, damaged, or where its class vectors cannot be drawn again
    bit for bit.
    """
    run = find(Path(root), name)
    if not run.model_path.exists():
        raise RunError(f"{run.path} has no trained model yet", hint="let it finish: the same randhead train goes on")
    tensors, document = checkpoint.load(run.model_path)
    place = resolve_device(device)
    try:
        config = parse.build(parse.unnest(document["config"]))
        facts = document["resolved"]
        model = rebuild(config, facts, tensors)
        preprocess = preprocess_of(config, facts, place)
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{run.model_path}: its description lacks {error}", hint="train again with --fresh") from None
    return LoadedRun(
        run=run,
        config=config,
        model=model.to(place, memory_format=torch.channels_last).eval(),
        preprocess=preprocess,
        class_names=tuple(facts["class_names"]),
        image_size=facts["image_size"],
        selected=document["selected"],
        weights_sha256=checkpoint.state_sha256(tensors),
    )


def new_model(config: Config, facts: Mapping[str, Any], *, drawn: torch.Tensor | None = None) -> Classifier:
    """The classifier of a configuration before training, on data with these facts (class names, image size)."""
    head = config.head
    return build_model(
        config.backbone.name,
        num_classes=facts["num_classes"],
        image_size=facts["image_size"],
        seed=config.train.seed,
        head_seed=config.train.head_seed,
        pretrained=config.backbone.pretrained,
        vectors=head.vectors,
        scoring=head.scoring,
        trainable=head.trainable,
        scale=head.scale,
        learn_scale=head.learn_scale,
        bias=head.bias,
        neck=head.neck,
        class_names=facts["class_names"] if head.class_keys == "name" else None,
        normaliser=head.normaliser,
        normaliser_tolerance=head.normaliser_tolerance,
        drawn=drawn,
    )


def rebuild(config: Config, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Classifier:
    """The classifier whose state_dict is `tensors`.  Raises RunError where they do not fit its configuration."""
    if config.data.labels == "class" and facts["num_classes"] != len(facts["class_names"]):
        message = f"{facts['num_classes']} class vectors for {len(facts['class_names'])} class names"
        raise RunError(message, hint="train again with --fresh")
    plain = parse.build({**parse.flatten(config), "backbone.pretrained": False})
    model = new_model(plain, facts, drawn=tensors.get("head.vectors"))
    try:
        model.load_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"the weights do not fit the configuration ({reason})", hint="train again with --fresh"
        ) from None
    return model


def preprocess_of(config: Config, facts: Mapping[str, Any], place: torch.device) -> Preprocess:
    """How images are prepared for a run."""
    arithmetic = resolve_dtype(config.train.precision, place)
    return Preprocess(torch.tensor(facts["mean"]), torch.tensor(facts["std"]), place, arithmetic)


def load_dataset(
    config: Config,
    place: torch.device,
    *,
    data: str | None = None,
    image_size: int | None = None,
    held_out: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The images of a configuration, or other ones (`data`), of the size a run was trained on.  Raises DataError.

    Its own images come without the classes that training leaves out, or as these alone, with `held_out`.
    """
    options, resources = config.data, config.machine
    dataset = datasets.load(
        data or options.name,
        root=Path(resources.data_root).expanduser(),
        image_size=image_size or options.image_size,
        validation=options.validation,
        split_seed=options.split_seed,
        memory_budget=resources.memory_budget_mb << 20,
        workers=resources.workers,
        skip_bad_images=options.skip_bad_images,
        progress=progress,
        device=place,
    )
    if data or not options.hold_out_classes:
        return dataset
    kept, left_out = datasets.divide_classes(dataset, options.hold_out_classes, seed=options.split_seed)
    return left_out if held_out else kept


def check_classes(loaded: LoadedRun, dataset: Dataset) -> None:
    """Raise DataError where images have other classes than a run."""
    if tuple(dataset.class_names) != loaded.class_names:
        odd = sorted(set(dataset.class_names) ^ set(loaded.class_names))[:5]
        raise DataError(
            f"{dataset.name} has other classes than run {loaded.run.name} ({', '.join(odd) or 'in another order'})",
            hint="give images with the run's classes; other classes go to --ood or to randhead analyze transfer --data",
        )
