"""Debian's Chromium, driven by Playwright: windows that remember faults, and hands that use a mouse or only keys."""

from __future__ import annotations

import contextlib
import gzip
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Playwright, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[2]
AXE = REPOSITORY / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
_QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage")
# What the policy blocks is told on the console as well, but not in every case.
_WATCH_POLICY = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`blocked by the policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));"""


_PAINT = """() => new Promise((done) => new PerformanceObserver((list) =>
  done(list.getEntries().at(-1).startTime / 1000)).observe({type: "largest-contentful-paint", buffered: true}))"""
# P11 of the figures to hold.
MOST_SCRIPT_KIB, MOST_PAINT_SECONDS = 150, 1.5


def path() -> str | None:
    return shutil.which("chromium")


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    play: Playwright
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path(), args=["--no-sandbox", *_QUIET])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Window:
    """One page of one person, and what went wrong in it."""

    page: Page
    site: str
    faults: list[str] = field(default_factory=list)

    def forgive(self, words: str) -> None:
        """What a test brings about on purpose is no fault."""
        self.faults[:] = [fault for fault in self.faults if words not in fault]

    def go(self, path: str) -> Page:
        self.page.goto(self.site + path)
        return self.page

    def sign_in(self, email: str, password: str) -> None:
        self.go("/sign-in")
        self.page.locator("input[name=login]").fill(email)
        self.page.locator("input[name=password]").fill(password)
        self.page.locator("form[data-sign-in] button").click()
        self.page.wait_for_url("**/w/*")


def window(browser: Browser, site: str, **named: Any) -> Window:
    """A browser of its own, with cookies of its own."""
    context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **named})
    context.set_default_timeout(20_000)
    context.add_init_script(_WATCH_POLICY)
    opened = Window(context.new_page(), site)
    watch(opened.page, opened.faults)
    return opened


def watch(page: Page, faults: list[str]) -> None:
    """Remember what the console calls an error, what no script has caught, and files that did not come."""

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            faults.append(f"{page.url}: {message.text} {message.location.get('url', '')}")

    page.on("console", hear)
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on("dialog", lambda dialog: (faults.append(f"{page.url}: a dialog: {dialog.message}"), dialog.dismiss()))


@dataclass(frozen=True)
class Opening:
    """What one opening of a page with an empty cache took."""

    script_kib: float
    paint_seconds: float


def opening(browser: Browser, site: str, cookies: list[Any], path: str) -> Opening:
    """Open a page in a browser of its own; its scripts are counted as they travel when compressed with gzip."""
    opened = window(browser, site, storage_state={"cookies": cookies, "origins": []})
    scripts: list[Any] = []
    opened.page.on("response", lambda answer: answer.request.resource_type == "script" and scripts.append(answer))
    page = opened.go(path)
    page.wait_for_timeout(500)
    paint = float(page.evaluate(_PAINT))
    size = sum(len(gzip.compress(answer.body(), 9)) for answer in scripts)
    page.context.close()
    return Opening(size / 1024, paint)


def findings(page: Page) -> list[str]:
    """What axe has to say about the page as it is, with the elements that it means."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    told = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [
        f"{violation['id']}: {node['target']} {node['html'][:150]} {node['failureSummary'][:200]}"
        for violation in told
        for node in violation["nodes"]
    ]


def spills(page: Page) -> list[str]:
    """That the page scrolls sideways, and the elements that make it; empty if it does not."""
    return list(
        page.evaluate(
            """() => { const width = document.documentElement.scrollWidth;
              if (width <= innerWidth) return [];
              const wide = [...document.querySelectorAll("body *")]
                .filter((one) => one.getBoundingClientRect().left + one.scrollWidth > innerWidth + 1);
              return [`${width} px wide`, ...wide.slice(-5).map((one) => one.outerHTML.slice(0, 150))]; }"""
        )
    )


class Mouse:
    """Uses the pages as most people do."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, what: str | Locator) -> None:
        self._found(what).click()

    def fill(self, what: str, words: str) -> None:
        self._found(what).fill(words)

    def choose(self, what: str, value: str) -> None:
        self._found(what).select_option(value)

    def choose_file(self, what: str, path: Path) -> None:
        """Press what stands around a file input, and choose in the window that opens."""
        with self.page.expect_file_chooser() as opened:
            self._found(self.page.locator(what).locator("xpath=ancestor::label")).click()
        opened.value.set_files(path)

    def give_picture(self, path: Path) -> None:
        """Drop a picture where one is asked for."""
        dropped = self.page.evaluate_handle(
            """([bytes, name]) => { const transfer = new DataTransfer();
              transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"})); return transfer; }""",
            [list(path.read_bytes()), path.name],
        )
        for kind in ("dragenter", "dragover", "drop"):
            self.page.dispatch_event("[data-island=predict] [data-drop]", kind, {"dataTransfer": dropped})

    def _found(self, what: str | Locator) -> Locator:
        found = self.page.locator(what) if isinstance(what, str) else what
        return found.locator("visible=true").first


class Keyboard(Mouse):
    """Never touches a mouse: Tab until the focus is there, then the keys that it understands."""

    def press(self, what: str | Locator) -> None:
        self._focus(what)
        self.page.keyboard.press("Enter")

    def fill(self, what: str, words: str) -> None:
        self._focus(what)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(words)

    def choose(self, what: str, value: str) -> None:
        """Open it, go to the option, and take it."""
        found = self._focus(what)
        values = found.locator("option").evaluate_all("(all) => all.map((one) => one.value)")
        steps = values.index(value) - values.index(found.input_value())
        if steps:
            self.page.keyboard.press("Space")
            for _ in range(abs(steps)):
                self.page.keyboard.press("ArrowDown" if steps > 0 else "ArrowUp")
            self.page.keyboard.press("Enter")
        assert found.input_value() == value

    def choose_file(self, what: str, path: Path) -> None:
        self._focus(self.page.locator(what).first)
        with self.page.expect_file_chooser() as opened:
            self.page.keyboard.press("Space")
        opened.value.set_files(path)

    def give_picture(self, path: Path) -> None:
        self.choose_file("[data-island=predict] [data-choose]", path)

    def _focus(self, what: str | Locator) -> Locator:
        wanted = self._found(what) if isinstance(what, str) else what
        wanted.wait_for(state="attached")
        for _ in range(120):
            if wanted.evaluate("(one) => one === document.activeElement"):
                assert wanted.evaluate(_SHOWS_FOCUS), f"nobody sees that {what} has the focus"
                return wanted
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab never comes to {what}")


# The element that has the focus, or one around it that stands for it, is drawn with a ring.
_SHOWS_FOCUS = """(one) => { for (let at = one; at && at !== document.body; at = at.parentElement) {
  const style = getComputedStyle(at);
  if ((style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none") return true;
} return false; }"""
