"""What must be in the environment before a process imports torch. This file imports nothing heavy itself."""

from __future__ import annotations


def allocator_environment() -> dict[str, str]:
    """Environment variables that keep glibc from giving freed tensors back to the kernel at every step.

    A training step frees and takes the same large blocks again; by default each one is a fresh `mmap` whose
    pages the kernel zeroes. glibc reads these once, when the process starts.
    """
    return {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(16 * 2**30)}


def training_environment() -> dict[str, str]:
    """All environment variables that a process should start with if it is to train: the allocator's and OpenMP's.

    By default an OpenMP thread that waits for another one spins 300,000 times. On a machine with other work that
    keeps the other one from running, and a step of a small network takes several times as long.
    """
    return {**allocator_environment(), "GOMP_SPINCOUNT": "1000"}
