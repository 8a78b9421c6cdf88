"""Signing in through the browser: the server sends it back to this machine's loopback (RFC 8252, RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlencode, urlsplit

from trainshed.errors import NotSignedIn

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><body><h1>{title}</h1><p>{words}</p></body></html>"""


class BrowserSignIn:
    """One sign-in: `address` is where the browser goes, `wait` gives what it brings back."""

    def __init__(self, server: str, name: str) -> None:
        self.verifier = secrets.token_urlsafe(48)
        self._state = secrets.token_urlsafe(24)
        self._code = ""
        self._come = threading.Event()
        self._listening = HTTPServer(("127.0.0.1", 0), self._handler())
        digest = hashlib.sha256(self.verifier.encode()).digest()
        said = {
            "redirect_uri": f"http://127.0.0.1:{self._listening.server_port}/signed-in",
            "state": self._state,
            "challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "name": name,
        }
        self.address = f"{server}/sign-in/terminal?{urlencode(said)}"

    def __enter__(self) -> BrowserSignIn:
        threading.Thread(target=self._listening.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listening.shutdown()
        self._listening.server_close()

    def wait(self, seconds: float) -> str:
        """The code that the browser brought. Raises `NotSignedIn` if it brought none in time, or the person said no."""
        if not self._come.wait(seconds):
            raise NotSignedIn(f"The browser did not come back within {seconds:.0f} s.", hint="Run the command again.")
        if not self._code:
            raise NotSignedIn("You said no in the browser; nobody was signed in.")
        return self._code

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                is_ours = hmac.compare_digest(told.get("state", "").encode(), outer._state.encode())
                title = "You can close this page" if is_ours else "This is not for us"
                words = "The command line goes on." if is_ours else "Start again from the command line."
                page = _PAGE.format(title=title, words=words).encode()
                self.send_response(200 if is_ours else 400)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)
                if is_ours:
                    outer._code = told.get("code", "")
                    outer._come.set()

            def log_message(self, format: str, *arguments: object) -> None:
                """The terminal is for the person."""

        return Handler
