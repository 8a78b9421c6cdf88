"""`python -m trainshed.hosts` prints one reading as JSON: a hung driver then hangs a process of its own."""

from trainshed.hosts.readings import read

print(read().model_dump_json(indent=2))
