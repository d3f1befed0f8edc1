"""randhead list: the runs of a folder with their accuracies."""

from pathlib import Path

from randhead.cli.options import JsonOption, RunsOption


def list_command(runs: RunsOption = Path("runs"), json: JsonOption = False) -> None:
    """List the runs with their accuracies; a star marks the latest."""
    from randhead.cli.output import Output
    from randhead.runs import list_runs

    output = Output(as_json=json)
    found = list_runs(runs, warn=output.warn)
    if not found.runs:
        output.note(f"no runs in {runs}; train one: randhead train")
    output.show(found)
