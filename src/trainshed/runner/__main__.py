"""`python -m trainshed.runner`: one guard."""

from trainshed.runner.main import run

run()
