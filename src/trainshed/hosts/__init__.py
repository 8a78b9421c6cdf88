"""What this machine is and what its cards do right now; the only room with NVML and psutil.

`read` takes one reading, `agent.run` sends readings for ever. Where they go is the caller's business.
"""

from trainshed.hosts.readings import read

__all__ = ["read"]
