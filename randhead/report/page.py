"""One HTML page of what was found: no file and no host beside it, light and dark, readable on a phone.

Every text that comes from a run, such as the name of a class, is escaped.
"""

import inspect
import math
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from randhead import __version__, registry
from randhead.evaluation.analysis import Measured, Results
from randhead.evaluation.comparison import arms
from randhead.evaluation.inputs import OneRun
from randhead.report import canvas, differences, projections, sections
from randhead.report.sections import Listing, Picture, words

HERE = Path(__file__).parent
LARGE = 6.5  # inches; wider pictures get a line of their own, and scroll on a phone
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def render(results: Results, comparison: dict[str, dict[str, Any]]) -> str:
    """The page of analyses of one or more runs; `comparison` holds `comparison.compare` of each."""
    members = results.members
    if len(members) == 1:
        blocks = _run_blocks(members[0], results.each[0], names=members[0].loaded.class_names, prefix="")
    else:
        blocks = _comparison_blocks(results, comparison)
    if results.refused:
        rows = [[name, reason] for name, reason in results.refused.items()]
        table = _table(Listing("", ("analysis", "why not"), rows))
        blocks["what does not apply"] = _section("what does not apply", "", table)
    title = members[0].loaded.run.name if len(members) == 1 else f"{len(members)} runs compared"
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in blocks)
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n'
        "<body>\n<main>\n"
        f"<header>\n<p>randhead report</p>\n<h1>{escape(title)}</h1>\n{_summary(members)}</header>\n"
        f"<nav>{links}</nav>\n{''.join(blocks.values())}"
        f"<footer>Made by randhead {escape(__version__)}. Click the head of a column to sort a table.</footer>\n"
        f"</main>\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _summary(members: list[OneRun]) -> str:
    run = members[0]
    seen = run.seen
    lines = [f"{seen['data']}, {seen['split']} split: n = {seen['n']}, K = {seen['classes']} classes"]
    if len(members) == 1:
        config, head = run.loaded.config, run.loaded.model.head
        kind = "learned" if head.trainable else "fixed"
        lines.append(
            f"{config.backbone.name}, {kind} {config.head.vectors} class vectors, D = {head.dim}, "
            f"{head.scoring} scoring, scale {run.scale:.4g}"
        )
        lines.append(f"seed {config.train.seed}, head seed {config.train.head_seed}")
        lines.append(f"accuracy {run.accuracy:.2%}")
    return "".join(f"<p>{escape(line)}</p>\n" for line in lines)


def _run_blocks(run: OneRun, found: dict[str, Measured], *, names: tuple[str, ...], prefix: str) -> dict[str, str]:
    """Title -> section, of one run: its features in two dimensions, and each analysis."""
    shown = projections.pictures(run.features, run.labels, run.class_vectors, names, seed=run.seed)
    title = "feature space"
    lead = "Directions of features, coloured by class, with the class vectors among them."
    blocks = {title: _section(title, lead, _pictures(shown, prefix + title), prefix=prefix)}
    for name in sections.in_order(found):
        blocks[name] = _analysis(name, found[name], names, prefix=prefix)
    return blocks


def _comparison_blocks(results: Results, comparison: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Title -> section, of several runs: who they are, the analyses side by side, those of all, and each run folded."""
    members = results.members
    run_names = tuple(run.loaded.run.name for run in members)
    labels = {place: arm.label for arm in arms([run.loaded.config for run in members]) for place in arm.places}
    seeds = [run.loaded.config.train for run in members]
    rows = [
        [f"{LETTERS[i % 26]}: {run_names[i]}", labels[i], seeds[i].seed, seeds[i].head_seed, run.accuracy]
        for i, run in enumerate(members)
    ]
    columns = ("run", "arm", "seed", "head seed", "accuracy")
    blocks = {
        "runs": _section("runs", "An arm is the runs that differ in seeds only.", _table(Listing("", columns, rows)))
    }
    for name in sections.in_order(comparison):
        lead = "Differences are paired by seed, with 95 percent intervals of Student's t."
        chosen = list(sections.headlines(name, results.each[0][name].findings))
        title = f"{name} compared"
        blocks[title] = _section(title, lead, _compared(name, comparison[name], chosen))
    for name, measured in results.together.items():
        blocks[name] = _analysis(name, measured, run_names, prefix="")
    parts = []
    for i, (run, found) in enumerate(zip(members, results.each, strict=True)):
        inner = _run_blocks(run, found, names=run.loaded.class_names, prefix=f"run {i} ")
        summary = f"<summary>{LETTERS[i % 26]}: {escape(run_names[i])}</summary>\n"
        parts.append(f'<details class="run">{summary}{"".join(inner.values())}</details>\n')
    blocks["every run"] = f'<div id="{_anchor("every run")}">{"".join(parts)}</div>\n'
    return blocks


def _compared(name: str, found: dict[str, Any], chosen: list[str]) -> str:
    """One analysis of several runs: the figures that matter first, a picture, and the rest folded."""
    tables = "".join(_table(listing) for listing in differences.tables(found, chosen))
    pictures = _pictures(differences.pictures(found, chosen), f"{name} compared")
    return tables + pictures + _notes(found["notes"]) + _folded(differences.everything(found))


def _analysis(name: str, measured: Measured, names: tuple[str, ...], *, prefix: str) -> str:
    findings = measured.findings
    lead = inspect.getdoc(registry.load("analyses", name)).splitlines()[0].partition(": ")[2]
    lead = lead[:1].upper() + lead[1:]
    tiles = "".join(
        f"<div><b>{_words(value)}</b><span>{escape(words(key))}</span></div>"
        for key, value in sections.headlines(name, findings).items()
        if value is not None
    )
    listings = list(sections.tables(name, findings, names))
    everything = Listing("All figures", ("figure", "value"), [[words(k), v] for k, v in findings.figures.items()])
    pictures = _pictures(sections.pictures(name, findings, names), f"{prefix}{name}")
    body = f'{_seen(measured.seen)}<div class="tiles">{tiles}</div>\n{pictures}{_notes(findings.notes)}'
    body += _folded([*listings, everything])
    return _section(name, lead, body, prefix=prefix)


def _folded(listings: Iterable[Listing]) -> str:
    return "".join(
        f"<details><summary>{escape(listing.title)}</summary>{_table(listing, titled=False)}</details>\n"
        for listing in listings
    )


def _seen(seen: dict[str, Any]) -> str:
    text = ", ".join(
        f"{key} = {value}" if key == "n" else f"{value} {key}" if key != "data" else str(value)
        for key, value in seen.items()
    )
    return f'<p class="seen">{escape(text)}</p>\n'


def _section(title: str, lead: str, body: str, *, prefix: str = "") -> str:
    about = f'<p class="lead">{escape(lead)}</p>\n' if lead else ""
    heading = escape(title[:1].upper() + title[1:])
    return f'<section id="{_anchor(prefix + title)}">\n<h2>{heading}</h2>\n{about}{body}</section>\n'


def _pictures(pictures: Iterable[Picture], owner: str) -> str:
    return f'<div class="pictures">{"".join(_picture(picture, owner) for picture in pictures)}</div>\n'


def _picture(picture: Picture, owner: str) -> str:
    element = canvas.svg(picture.figure, f"{owner} {picture.name}")
    kind = ' class="large"' if picture.figure.get_figwidth() > LARGE else ""
    element = element.replace("<svg", f'<svg{kind} role="img" aria-label="{escape(picture.caption)}"', 1)
    return f"<figure{kind}><div>{element}</div><figcaption>{escape(picture.caption)}</figcaption></figure>\n"


def _table(listing: Listing, *, titled: bool = True) -> str:
    title = f"<h3>{escape(listing.title)}</h3>\n" if titled and listing.title else ""
    numeric = [all(isinstance(row[i], int | float | None) for row in listing.rows) for i in range(len(listing.columns))]
    kinds = [' class="number"' if is_number else "" for is_number in numeric]
    head = "".join(
        f'<th scope="col"{kind}><button type="button">{escape(column)}</button></th>'
        for kind, column in zip(kinds, listing.columns, strict=True)
    )
    rows = "".join(
        f"<tr>{''.join(_cell(value, kind) for value, kind in zip(row, kinds, strict=True))}</tr>\n"
        for row in listing.rows
    )
    return f'{title}<div class="table"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n'


def _cell(value: Any, kind: str) -> str:
    exact = f' data-value="{value!r}"' if isinstance(value, int | float) and math.isfinite(value) else ""
    return f"<td{kind}{exact}>{_words(value)}</td>"


def _words(value: Any) -> str:
    """A value as a reader likes it; nothing for what does not exist."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _notes(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>\n' if items else ""


def _anchor(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title)
