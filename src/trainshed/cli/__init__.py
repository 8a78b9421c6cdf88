"""The `trainshed` command. It speaks to the server as everyone does, through the SDK.

Each module holds the commands of one noun and imports what is heavy (httpx, pydantic, rich) only when a
command runs, so that `--help` answers at once.
"""
