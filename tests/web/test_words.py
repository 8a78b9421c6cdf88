"""What templates make of numbers and times."""

from __future__ import annotations

import time

import pytest

from trainshed.server.web.templatetags.trainshed import ago, lasted, moment, percent, size

pytestmark = pytest.mark.usefixtures("django")
MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("num_bytes", "told"),
    [
        (0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (2**20 - 1, "1.0 MiB"),
        (2**20, "1.0 MiB"), (5 * 2**30, "5.0 GiB"), (2**40, "1.0 TiB"), (3 * 2**50, "3072.0 TiB"),
    ],
)  # fmt: skip
def test_a_size_is_told_in_its_unit(num_bytes, told):
    assert size(num_bytes) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "just now"), (9, "just now"), (30, "less than a minute ago"), (MINUTE + 1, "1 minute ago"),
        (59 * MINUTE, "59 minutes ago"), (HOUR + 1, "1 hour ago"), (23 * HOUR, "23 hours ago"), (DAY + 1, "1 day ago"),
        (400 * DAY, "400 days ago"), (-30, "just now"),
    ],
)  # fmt: skip
def test_an_age_is_told_in_words(seconds, told):
    """A clock that is ahead says nothing of the future."""
    assert ago(time.time() - seconds) == told


def test_what_never_was_is_said_so():
    assert (ago(None), moment(None), lasted(None), percent(None)) == ("never", "", "–", "–")
    assert percent("") == "–", "a template gives empty text for a name that it does not find"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (60, "1 min 0 s"),
        (75.2, "1 min 15 s"), (3599.9, "1 h 0 min"), (3660, "1 h 1 min"), (90000, "25 h 0 min"),
    ],
)  # fmt: skip
def test_a_duration_is_told_in_words(seconds, told):
    assert lasted(seconds) == told


@pytest.mark.parametrize(("share", "told"), [(0, "0.0 %"), (0.98765, "98.8 %"), (1, "100.0 %")])
def test_a_share_is_told_in_percent(share, told):
    assert percent(share) == told


def test_a_moment_is_what_a_time_element_wants():
    assert moment(0) == "1970-01-01T00:00:00Z"
    assert moment(1_700_000_000.75) == "2023-11-14T22:13:20Z"
