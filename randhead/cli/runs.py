"""randhead list: the runs of a folder with their accuracies."""

from pathlib import Path

from randhead.cli.options import JsonOption, RunsOption


def list_runs(runs: RunsOption = Path("runs"), json: JsonOption = False) -> None:
    """List the runs with their accuracies; a star marks the latest."""
    from randhead import runs as folder
    from randhead.cli.output import Output, percent
    from randhead.errors import RunError
    from randhead.runs import steps

    output = Output(as_json=json)
    latest = folder.last(runs)
    lines, rows = [], []
    for run in folder.all_runs(runs):
        try:
            summary = run.summary()
        except RunError as error:
            output.warn(error.message)
            continue
        saved = steps.saved_steps(run.checkpoints)
        state = "finished" if summary else f"stopped after step {saved[-1]}" if saved else "not begun"
        test = summary.test["accuracy"] if summary else None
        val = summary.val["accuracy"] if summary else None
        lines.append({"run": run.name, "state": state, "test": {"accuracy": test}, "val": {"accuracy": val}})
        figures = [percent(value).removesuffix(" %") for value in (test, val)]
        rows.append([f"{'*' if run.name == latest else ' '} {run.name}", state, *figures])
    if rows:  # the name of a default run and 100 % fit into 80 columns
        output.table("", ["  run", "state", "test %", "val %"], rows)
    else:
        output.note(f"no runs in {runs}; train one: randhead train")
    output.result({"runs": lines, "last": latest})
