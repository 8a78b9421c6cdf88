"""One attempt of one job on one machine: the guard, which speaks to the server, and its child, which works.

`guard.py` holds the lease and names the end; `child.py` runs the handler of the job's kind; neither knows the
database. What a kind does stands in `handlers/`.
"""
