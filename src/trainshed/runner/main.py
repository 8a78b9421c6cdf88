"""The guard's entry: start warm, take one order from standard input, guard it to its end.

Run as `python -m trainshed.runner --warm KIND [--lifeline FD]`. When standard input ends without an order, the
warm child is dismissed: the executor that kept it is gone.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys

from trainshed.runner.guard import Guard, Order
from trainshed.schemas import settings


def run(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="trainshed runner", description=__doc__)
    parser.add_argument("--warm", default="light", help="what to import ahead: `light` or `vision`")
    parser.add_argument("--lifeline", type=int, default=None, help="file descriptor whose end means: stop")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=settings.text("TRAINSHED_LOG_LEVEL").upper(), stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, which stops us in its order
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    guard = Guard(options.warm)
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        guard.dismiss()
        return
    guard.run(Order(**json.loads(line)), options.lifeline)
    os._exit(0)  # daemon threads may still wait for a server that is gone


if __name__ == "__main__":
    run()
