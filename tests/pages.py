"""The Markdown pages of the project as tests read them: their blocks, and their commands, run in order."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def read(name):
    """The text of a page."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text, language):
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text):
    """The lines of its console blocks that start with a dollar sign."""
    return [line[2:] for block in blocks(text, "console") for line in block.splitlines() if line.startswith("$ ")]


def run_commands(text, folder):
    """Run all commands of a page in a folder.  Every one is ours and ends with exit code 0."""
    for command in commands(text):
        program, *words = shlex.split(command)
        assert program == "randhead", command
        done = subprocess.run(
            [sys.executable, "-m", "randhead", *words],
            cwd=folder,
            env={**os.environ, "MPLBACKEND": "agg"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
