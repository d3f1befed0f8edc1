"""What a training does that a reader would not expect: sentences for its first lines and for its model card."""

from collections.abc import Sequence

from randhead.config import Config, parse, recipes
from randhead.config.resolved import EncoderInput, ResolvedSettings
from randhead.train.warm_start import WarmStart

MOST_NAMED = 3  # classes; a single further one is named too


def of_training(
    config: Config, settings: ResolvedSettings, encoder: EncoderInput | None, warm: WarmStart | None
) -> tuple[str, ...]:
    """The sentences of a training.

    Args:
        config: the configuration.
        settings: the resolved settings.
        encoder: the images that a trained encoder is used to; None for an encoder that starts from nothing.
        warm: what was taken over from another run; None if nothing was.
    """
    found = [_recipe(config), _input(settings, encoder), *_warm_start(config, warm)]
    return tuple(note for note in found if note)


def _recipe(config: Config) -> str:
    """The settings that come from the recipe and are not the defaults."""
    flat, about = parse.flatten(config), parse.settings()
    made = {key: value for key, value in recipes.changes(flat).items() if value != about[key].default}
    if not made:
        return ""
    tuned = config.recipe == "finetune"
    why, other = (", for trained encoders,", " (`recipe` chooses another)") if tuned else ("", "")
    listed = ", ".join(f"{key}={about[key].shown(value)}" for key, value in made.items())
    return f"recipe {config.recipe}{why} sets {listed}{other}"


def _input(settings: ResolvedSettings, encoder: EncoderInput | None) -> str:
    """What a trained encoder is used to, and in what this training differs."""
    if encoder is None:
        return ""
    pairs = [
        (f"{encoder.image_size} px", f"{settings.image_size} px"),
        (f"mean {_numbers(encoder.mean)}", f"mean {_numbers(settings.mean)}"),
        (f"deviation {_numbers(encoder.std)}", f"deviation {_numbers(settings.std)}"),
    ]
    other = [used for trained, used in pairs if trained != used]
    trained = ", ".join(trained for trained, _ in pairs)
    if not other:
        return f"images are resized and normalised as for {encoder.source}: {trained}"
    return f"{encoder.source}: trained with images of {trained}; not so here, as set: {', '.join(other)}"


def _warm_start(config: Config, warm: WarmStart | None) -> list[str]:
    """From which run, with which learning rate, and which classes have a vector already."""
    if warm is None:
        return []
    optim = config.optim
    hint = ""
    if config.recipe == "default" and optim.lr == parse.settings()["optim.lr"].default and optim.name == "sgd":
        hint = ', the rate for training from scratch; for smaller steps add `recipe="finetune"`'
    start = f"starts from the encoder of run {warm.run}, with {optim.name} and a learning rate of {optim.lr:g}{hint}"
    if warm.scores[0] != warm.scores[1]:
        start += f"; {warm.scores[1]}, not {warm.scores[0]} as there"
    if warm.known is None:
        return [start, "no class vector is taken from it: those of instance labels belong to images"]
    kinds = {"known": warm.known, "new": warm.new, "dropped": warm.dropped}
    return [start, "classes: " + ", ".join(f"{len(names)} {kind}{_few(names)}" for kind, names in kinds.items())]


def _few(names: Sequence[str]) -> str:
    shown = list(names) if len(names) <= MOST_NAMED + 1 else [*names[:MOST_NAMED], "..."]
    return f" ({', '.join(shown)})" if names else ""


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)
