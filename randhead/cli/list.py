"""randhead list: the runs of a folder with their accuracies."""

import shlex
from pathlib import Path

from randhead.cli.options import JsonOption, RunsOption


def list_command(runs: RunsOption = Path("runs"), json: JsonOption = False) -> None:
    """List the runs with their accuracies; a star marks the latest."""
    from randhead.cli.output import Output
    from randhead.runs import list_runs

    output = Output(as_json=json)
    found = list_runs(runs, warn=output.warn)
    if not found.runs:
        output.note(f"no runs in {runs}; {_hint()}")
    output.show(found)


def _hint() -> str:
    """What may be meant: the runs of the studies of this folder, or to train one."""
    from randhead.study import folder

    studies = folder.studies()
    if not studies:
        return "train one: randhead train"
    more = f" (and of {', '.join(each.path.name for each in studies[1:])})" if studies[1:] else ""
    return f"those of a study: randhead list --runs {shlex.quote(str(studies[0].runs))}{more}"
