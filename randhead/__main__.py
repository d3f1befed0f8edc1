"""The command `randhead`, also as `python -m randhead`."""

import signal

# The imports take a moment, in which there is nothing to save: Ctrl-C ends them without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from randhead.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
