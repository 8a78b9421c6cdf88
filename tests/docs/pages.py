"""The pages as data: their texts, tables, code blocks, links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("**/*.md"), *(REPOSITORY / "contributing").glob("**/*.md")]
)


@dataclass(frozen=True)
class Block:
    """A fenced block of code; `is_runnable` if its fence says so."""

    language: str
    is_runnable: bool
    code: str


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def read(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def rows(page: str) -> dict[str, list[str]]:
    """The tables' rows by their first cell's text, without back-quotes."""
    cells = [line.strip("|").split(" | ") for line in read(page).splitlines() if line.startswith("| ")]
    return {row[0].strip().strip("`"): [cell.strip() for cell in row[1:]] for row in cells}


def blocks(page: Path) -> Iterator[Block]:
    for fence, code in re.findall(
        r"^```([^\n]*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        language, _, word = fence.partition(" ")
        yield Block(language, word == "runnable", code)


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings: lower case, blanks to hyphens, other signs dropped."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
