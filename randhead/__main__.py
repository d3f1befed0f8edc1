"""`python -m randhead` is the command `randhead`."""

from randhead.cli import main

main()
