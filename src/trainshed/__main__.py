"""`python -m trainshed` is the `trainshed` command."""

from trainshed.cli.main import run

run()
