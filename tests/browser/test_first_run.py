"""From the setup link to a right answer, in a browser: once by mouse, and once without ever touching one."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.chromium import Keyboard, Mouse
from browser.conftest import CLASSES, EMAIL, PASSWORD, FreshService, OpenWindow, write_digits
from journeys import trainings

UNSEEN = 1400


@pytest.fixture
def unseen(tmp_path: Path) -> Path:
    """A picture of a digit that is in no dataset."""
    return next(trainings.write_digits(tmp_path / "unseen", UNSEEN, 60).glob("6/*.png"))


def bring_in(page: Page, hands: Mouse, folder: Path) -> None:
    """Choose a folder, and be led to its dataset with all its pictures."""
    hands.choose_file("[data-island=upload] input[webkitdirectory]", folder)
    page.wait_for_url("**/datasets/*")
    expect(page.locator("h1")).to_have_text(folder.name)
    expect(page.locator("#counts")).to_contain_text("90")
    expect(page.locator("main img").first).to_be_visible()


def train(page: Page, hands: Mouse, epochs: int = 40) -> None:
    """From the dataset's page to the end of a small training."""
    hands.press("#train a")
    hands.choose("#field-backbone", "scratch-cnn")
    hands.fill("#field-epochs", str(epochs))
    hands.fill("#field-image_size", "32")
    hands.press("main form[method=post] button.btn-primary")
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#status")).to_have_attribute("data-state", "succeeded", timeout=90_000)
    expect(page.locator("[data-latest=loss]")).not_to_have_text("–")
    guesses = page.locator("[data-guess]").all_inner_texts()
    assert guesses and set(guesses) <= set(CLASSES), "the pictures of a first training have their classes' names"


def ask(page: Page, hands: Mouse, picture: Path) -> str:
    """What the model says of a picture, on its page."""
    hands.press("#status a.btn-primary")
    page.wait_for_url("**/models/*")
    hands.give_picture(picture)
    card = page.locator("[data-cards] > li").first
    expect(card).to_have_attribute("data-state", "answered", timeout=30_000)
    return card.locator("[data-bars] [data-label]").first.inner_text()


def test_the_first_run_by_mouse(fresh: FreshService, open_window: OpenWindow, tmp_path: Path, unseen: Path) -> None:
    if not fresh.setup_link:
        pytest.skip("another test has made the owner")
    page = open_window().go(fresh.setup_link)
    hands = Mouse(page)
    hands.fill("input[name=name]", "Ann Example")
    hands.fill("input[name=email]", EMAIL)
    hands.fill("input[name=password]", PASSWORD)
    hands.press("main form button")
    page.wait_for_url("**/w/*")
    fresh.setup_link = ""
    bring_in(page, hands, write_digits(tmp_path / "digits"))
    train(page, hands)
    assert ask(page, hands, unseen) == "6"


def test_all_of_it_by_keyboard(running: FreshService, open_window: OpenWindow, tmp_path: Path, unseen: Path) -> None:
    page = open_window().go("/sign-in")
    hands = Keyboard(page)
    hands.fill("input[name=login]", EMAIL)
    hands.fill("input[name=password]", PASSWORD)
    hands.press("form[data-sign-in] button")
    page.wait_for_url("**/w/*")
    hands.press("a.menu-link[href$='/datasets']")
    bring_in(page, hands, write_digits(tmp_path / "typed"))
    train(page, hands)
    assert ask(page, hands, unseen) == "6"
    hands.press("form[action='/sign-out'] button")
    page.wait_for_url("**/sign-in*")
