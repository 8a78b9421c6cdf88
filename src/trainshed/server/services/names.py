"""The names that people give: what every noun's name has to be."""

from __future__ import annotations

import unicodedata

from trainshed.errors import InvalidInput

MOST_CHARACTERS = 300


def proved(name: str, whose: str, most: int = MOST_CHARACTERS) -> str:
    """The name without the blanks around it. Raises `InvalidInput` if it is empty, too long or cannot be seen."""
    name = name.strip().replace("\0", "\ufffd")  # PostgreSQL stores no NUL
    if not 1 <= len(name) <= most:
        raise InvalidInput(f"{whose} name must have 1 to {most} characters; this one has {len(name)}.")
    # Letters, marks, numbers, punctuation and symbols; the rest is space, control and what only turns the direction.
    if not any(unicodedata.category(character)[0] in "LMNPS" for character in name):
        raise InvalidInput(f"{whose} name must have a character that can be seen.")
    return name
