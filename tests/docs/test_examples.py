"""Blocks marked `runnable` are run as they stand, in order, against a real service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docs import pages
from docs.conftest import Reader
from docs.pages import PAGES, Block

_COMMANDS = {"shell": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
_LONGEST_SECONDS = 300
PAGES_THAT_RUN = [page for page in PAGES if any(block.is_runnable for block in pages.blocks(page))]


def run(block: Block, reader: Reader) -> str:
    """What the block prints; fails with it when the block fails."""
    done = subprocess.run(
        [*_COMMANDS[block.language], block.code],
        cwd=reader.folder,
        env=reader.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LONGEST_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{block.code}\nended with exit code {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=pages.name)
def test_the_runnable_blocks_of_a_page_run(page: Path, reader: Reader) -> None:
    for block in pages.blocks(page):
        if block.is_runnable:
            print(run(block, reader))


def test_the_readme_begins_with_two_commands_and_eight_lines_that_run() -> None:
    first, second, *_ = pages.blocks(pages.REPOSITORY / "README.md")
    assert [line.split("#")[0].strip() for line in first.code.splitlines()] == ["make demo", "make test"]
    assert second.is_runnable and second.language == "python"
    assert len(second.code.strip().splitlines()) <= 8


def test_a_block_that_fails_is_told_with_what_it_printed(reader: Reader) -> None:
    with pytest.raises(AssertionError, match=r"(?s)exit code 1.*There is no dataset 'weeds'"):
        run(Block("shell", True, "trainshed dataset show weeds"), reader)
