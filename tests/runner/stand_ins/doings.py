"""Work made for the tests: each function is one way for a child to work or to end, by name in the job's spec."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from trainshed import errors
from trainshed.runner.child import Work

Done = tuple[dict[str, Any], dict[str, Path]]
_SLEEP = [sys.executable, "-S", "-c", "import signal; signal.pause()"]


def handle(work: Work) -> Done:
    done: Done = globals()[work.assignment.spec["do"]](work)
    return done


def publish(work: Work) -> Done:
    """Work that ends well, with one file."""
    path = work.work_folder / "made.txt"
    path.write_text("made by the child")
    return {"pid": os.getpid()}, {"made.txt": path}


def wait(work: Work) -> Done:
    """Work that stops as soon as it is asked to."""
    work.say("progress", {"pid": os.getpid()})
    work.client.abandon.wait()
    work.stop_if_asked()
    raise AssertionError("nobody has asked it to stop")


def work_until_released(work: Work) -> Done:
    """Work that ends well as soon as the server opens the gate of `/rows`."""
    work.say("progress", {"pid": os.getpid()})
    work.client.rows()
    return publish(work)


def save_when_asked(work: Work) -> Done:
    """Work that saves a checkpoint when it is asked to stop."""
    work.say("progress", {"pid": os.getpid()})
    work.client.abandon.wait()
    path = work.work_folder / "state.bin"
    path.write_bytes(b"all that was learned")
    work.save_checkpoint(path, 7)
    raise errors.JobStopped()


def save_and_die(work: Work) -> Done:
    """Work that saves a checkpoint and is killed."""
    path = work.work_folder / "state.bin"
    path.write_bytes(b"all that was learned")
    work.save_checkpoint(path, 7)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it was killed")


def ignore(work: Work) -> Done:
    """Work that does not listen."""
    work.say("progress", {"pid": os.getpid()})
    while True:
        signal.pause()


def finish_when_asked(work: Work) -> Done:
    """Work that is done at the very moment when it is asked to stop."""
    work.say("progress", {"pid": os.getpid()})
    work.client.abandon.wait()
    return publish(work)


def ask_always(work: Work) -> Done:
    """Work that is in the middle of a request whenever it is asked to stop."""
    work.say("progress", {"pid": os.getpid()})
    while True:
        work.client.rows()


def count(work: Work) -> Done:
    """Work that tells a number every few milliseconds."""
    work.say("progress", {"pid": os.getpid()})
    for number in range(100):
        work.say("metric", {"number": number})
        work.client.abandon.wait(0.01)
    return publish(work)


def tell_no_number(work: Work) -> Done:
    work.say("metric", {"step": 1, "values": {"loss": float("nan"), "rates": [float("inf"), 1.0]}})
    return publish(work)


def leave_family(work: Work) -> Done:
    """Work that leaves a grandchild in its session, and one that has left the session and lost its parent."""
    near = subprocess.Popen(_SLEEP)
    program = f"import subprocess as s; print(s.Popen({_SLEEP!r}, start_new_session=True, stdout=s.DEVNULL).pid)"
    far = subprocess.run([sys.executable, "-S", "-c", program], stdout=subprocess.PIPE, check=True).stdout
    work.say("progress", {"near": near.pid, "far": int(far)})
    near.returncode = 0  # it is left on purpose
    work.client.rows()
    return publish(work)


def fork_with_pipe(work: Work) -> Done:
    """Work that ends while a fork of it still holds all its pipes."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    work.say("progress", {"forked": pid})
    return publish(work)


def tell_environment(work: Work) -> Done:
    names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "GOMP_SPINCOUNT")
    return {name: os.environ.get(name) for name in names}, {}


# Ways to end badly


def exit_with_code(work: Work) -> Done:
    print("the first line")
    print("the last words")
    sys.stdout.flush()
    os._exit(7)


def end_by_signal(work: Work) -> Done:
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: no core file
    signal.signal(signal.Signals.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), work.assignment.spec["number"])
    raise AssertionError("the signal has not ended it")


def fail(work: Work) -> Done:
    """Raise the error that the spec names."""
    raise {
        "MemoryError": MemoryError("4 GiB for a tensor"),
        "OSError": OSError(errno.ENOSPC, "No space left on device"),
        "ZeroDivisionError": ZeroDivisionError("by nought"),
        "DatasetUnfit": errors.DatasetUnfit("Too few pictures.", hint="Bring more."),
        "TrainingDiverged": errors.TrainingDiverged(),
        "OutOfMemoryError": type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"),
    }[work.assignment.spec["error"]]
