"""The model card of a run, with its settings and results, as README.md of the run folder."""

from randhead import registry
from randhead.config import Config, recipes
from randhead.escapes import markdown
from randhead.files import atomic_write
from randhead.runs.finding import data_label
from randhead.runs.folder import Run
from randhead.runs.summary import TrainingSummary, limits
from randhead.tables import capitalised, percent


def write(run: Run, config: Config, summary: TrainingSummary) -> None:
    """Write the card of a finished run."""
    atomic_write(run.card_path, text(run, config, summary))


def text(run: Run, config: Config, summary: TrainingSummary) -> str:
    """The card as Markdown."""
    head, test, val = config.head, summary.test, summary.val
    kind = "learned" if head.trainable else "fixed"
    selected = summary.selected.epoch
    validated = f"95 % interval {limits(val)}; " if limits(val) else ""
    lines = [
        f"# {markdown(run.name)}",
        "",
        f"A {markdown(config.backbone.name)} trained on {markdown(data_label(config))} with {kind} "
        f"{markdown(registry.label(head.vectors))} class vectors "
        f"({head.scoring} scoring), by randhead {markdown(str(summary.versions['randhead']))}.",
        "",
        "| figure | value |",
        "|---|---|",
        f"| test accuracy | {percent(test['accuracy'])} (95 % interval {limits(test)}, n = {test['n']}) |",
        *([f"| test NLL | {test['nll']:.4f} nats |"] if test["nll"] is not None else []),
        *([f"| test ECE, 15 bins of equal width | {percent(test['ece'])} |"] if test["ece"] is not None else []),
        f"| val accuracy | {percent(val['accuracy'])} ({validated}selected: epoch {selected} of {summary.epochs}) |",
        f"| training | {summary.seconds:.1f} s, {summary.images_per_second:.0f} images/s, {markdown(summary.device)} |",
        "",
        "The weights were selected on the validation split; the test split was read once, at the end.",
    ]
    if config.data.labels == "instance":
        lines += ["", "Every training image was its own class; accuracy is that of the 20 nearest training images."]
    for warning in summary.warnings:
        lines += ["", f"**Warning**: {markdown(warning)}."]
    for note in summary.notes:
        lines += ["", markdown(f"{capitalised(note)}.")]
    if config.recipe in recipes.NOTES:
        lines += ["", f"Recipe `{config.recipe}`. {recipes.NOTES[config.recipe]}"]
    if summary.bad_images:
        lines += ["", f"{len(summary.bad_images)} unreadable images were left out:", ""]
        lines += [f"- {markdown(name)}" for name in summary.bad_images]
    lines += ["", "`config.json` has every setting and the versions; `model.safetensors` the weights.", ""]
    return "\n".join(lines)
