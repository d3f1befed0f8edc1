"""Words that a command does not know, as users of other software type them, and what to type instead."""

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from randhead import registry
from randhead.config import Setting, settings
from randhead.errors import RandheadError, UsageError
from randhead.families import models_named

# What timm, torchvision's references, Lightning, Hugging Face, Ultralytics and fastai call a setting or an option.
SYNONYMS = {
    "optim.lr": "lr0 learning-rate base-lr max-lr init-lr initial-lr eta",
    "optim.weight_decay": "wd decay l2",
    "optim.name": "opt optim optimizer optimiser solver",
    "optim.momentum": "mom beta1",
    "optim.schedule": "sched scheduler lr-scheduler lr-scheduler-type lr-schedule lr-sched cos-lr",
    "optim.warmup": "warmup-epochs lr-warmup-epochs warmup-ratio warmup-steps warm-up",
    "optim.clip_norm": "clip clip-grad clip-grad-norm max-grad-norm grad-clip gradient-clip-val gradient-clip",
    "optim.accumulate": "accum accum-iter grad-accum grad-accum-steps gradient-accumulation-steps "
    "accumulate-grad-batches",
    "optim.label_smoothing": "smoothing ls",
    "optim.plateau_patience": "patience patience-epochs early-stopping",
    "optim.plateau_factor": "gamma lr-gamma decay-rate lr-factor",
    "data.name": "dataset data-dir data-path dataset-name train-dir train-data data-folder images input root path",
    "data.image_size": "imgsz img-size img input-size size resize resolution crop-size train-crop-size",
    "data.validation": "val-split validation-split val-fraction val-size val-ratio",
    "data.normalise": "normalize normalization mean std",
    "data.flip": "hflip horizontal-flip fliplr",
    "data.augment": "aug augmentation aa auto-augment",
    "data.crop_padding": "padding",
    "backbone.name": "model arch architecture net network encoder model-name model-name-or-path",
    "backbone.pretrained": "weights pretrain finetune fine-tune",
    "head.scale": "temperature temp tau",
    "head.vectors": "geometry init",
    "head.trainable": "trainable learn learnable train-head",
    "train.epochs": "epoch n-epochs num-epochs nepochs max-epochs num-train-epochs max-steps steps iters iterations e",
    "train.batch_size": "batch bs bsz batchsize train-batch-size per-device-train-batch-size minibatch b",
    "train.seed": "random-seed random-state manual-seed rng",
    "train.precision": "amp fp16 bf16 half mixed-precision dtype",
    "machine.workers": "num-workers nworkers threads j",
    "machine.device": "gpu gpus cuda cpu accelerator devices dev",
    "machine.compile": "torchcompile torch-compile",
    "train.start_from": "resume-from initial-checkpoint init-checkpoint checkpoint ckpt load load-from",
    "--out": "output output-dir out-dir outdir save-dir save-path project logdir log-dir default-root-dir",
    "--name": "exp-name experiment exp run-name run tag",
    "--fresh": "overwrite exist-ok restart force",
    "--config": "cfg config-file hparams yaml toml",
}
MEANT = {word: key for key, words in SYNONYMS.items() for word in words.split()}
OF_STUDY = {
    "--seeds": "seed n runs repeats trials num-seeds n-seeds random-seeds",
    "--head-seeds": "head-seed",
    "--control": "baseline reference against",
    "--tune": "grid sweep search tuning lr-grid hparams",
    "--jobs": "workers num-workers parallel processes n-jobs j",
    "--arms": "compare heads methods learned fixed scoring vectors geometry",
    "--claim": "claims hypothesis test",
    "--corruptions": "corrupt corruption robustness",
    "--corruption-limit": "limit",
    "--minutes": "time timeout time-limit budget",
    "--out": "output output-dir out-dir runs root",
    "--name": "exp-name experiment exp tag",
    "--print-commands": "commands dry-run slurm",
}
OWN = {"study": {word: option for option, words in OF_STUDY.items() for word in words.split()}}
FLAGS = ("--fresh", "--resume", "--json", "--settings", "--corruptions", "--print-commands")  # take no value


@dataclass(frozen=True)
class Word:
    """A word that is not known, "--lr" or "lr=0.1", with its value, if it has one."""

    text: str
    name: str
    value: str | None


def refuse(words: Sequence[str], parameters: Iterable[Any], command: str = "train") -> None:
    """Raise UsageError, which says what to type instead, if there are words that a command does not know.

    Args:
        words: what is left of the command line.
        parameters: the parameters of the command.
        command: its name, "train" or "study".
    """
    if not words:
        return
    unknown = list(_grouped(words))
    options = [name for item in parameters for name in (*item.opts, *item.secondary_opts) if name[:2] == "--"]
    meant = [_meant(word, options, OWN.get(command, {})) for word in unknown]
    found = list(dict.fromkeys(text for text in meant if text))
    kinds = [f"no {'option' if word.text.startswith('-') else 'argument'} {word.text}" for word in unknown]
    everything = f"all settings: randhead settings; all options: randhead {command} --help"
    hint = f"use {' '.join(found)}" if found else everything
    raise UsageError(f"randhead {command} takes {' and '.join(kinds)}", hint=hint)


def _grouped(words: Sequence[str]) -> Iterable[Word]:
    """Unknown words with their values, which follow them or are behind an equals sign."""
    waiting = list(words)
    while waiting:
        text = waiting.pop(0)
        name, sign, value = text.partition("=")
        if sign:
            yield Word(name if name.startswith("-") else text, name, value)
        elif text.startswith("-") and waiting and not re.match(r"-+[A-Za-z]", waiting[0]):
            yield Word(text, text, waiting.pop(0))
        else:
            yield Word(text, text, None)


def _meant(word: Word, options: Sequence[str], synonyms: dict[str, str]) -> str | None:
    """What to type for a word, which may be a synonym of an option of the command; None if nothing is near."""
    plain = word.name.lstrip("-").replace("_", "-").lower()
    if not word.text.startswith("-") and word.value is None:
        return f"--data {shlex.quote(word.text)}"
    known = {key.replace("_", "-").lower(): key for key in settings()}
    names = {about.name.replace("_", "-"): key for key, about in settings().items() if about.name != "name"}
    declared = {name[2:]: about.key for name, about in _by_option().items()}
    own = {option[2:]: option for option in options}
    last = plain.rpartition(".")[2]  # of "trainer.max_epochs"
    table = MEANT | names | declared | own | known | synonyms
    for candidate in (plain, last):
        if candidate in table:
            return _typed(table[candidate], word.value, options)
    near = difflib.get_close_matches(last, table, n=1, cutoff=0.75)
    return _typed(table[near[0]], word.value, options) if near else None


def _typed(meant: str, value: str | None, options: Sequence[str]) -> str:
    """An option, or a setting, with the value if it is one for it."""
    about = _by_option().get(meant) or settings().get(meant)
    if about is None and meant == "--arms":
        return "--arms ... or --arm 'NAME: KEY=VALUE ...'"
    if about is None:
        return meant if value is None or meant in FLAGS else f"{meant} {shlex.quote(value)}"
    option = about.option.names()[0] if about.option and about.option.names()[0] in options else None
    if about.kind is bool and option:
        return option
    if about.family == "backbones" and value and not _fits(about, value):
        value = next(iter(models_named(value)), value)
    fits = value is not None and _fits(about, value)
    text = shlex.quote(value) if fits and value is not None else "..."
    why = "" if fits else " (a share of the training)" if about.key == "optim.warmup" else f" ({about.domain()})"
    return (f"{option} {text}" if option else f"--set {about.key}={text}") + why


def _by_option() -> dict[str, Setting]:
    """The settings that have an option, by each of its names."""
    return {name: about for about in settings().values() if about.option for name in about.option.names()}


def _fits(about: Setting, value: str) -> bool:
    """Whether a value that was typed for another option is one for the setting."""
    if about.key == "optim.warmup":
        return False  # a share of the training, not epochs or steps
    try:
        about.check(about.convert(value))
        if about.family:
            registry.check(about.family, registry.split(value)[0])
    except RandheadError:
        return False
    return True
