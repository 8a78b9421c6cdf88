"""Becoming known to a server: setup, login, logout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qs, urlsplit

import typer

from trainshed.cli import output
from trainshed.cli.output import Json

if TYPE_CHECKING:
    from trainshed.client import Client
    from trainshed.schemas import TokenView

_BROWSER_SECONDS = 300.0
Url = Annotated[str | None, typer.Option("--url", help="The server; without it the one last signed in to.")]
Email = Annotated[str | None, typer.Option("--email", help="Your e-mail address; asked for when missing.")]
Password = Annotated[
    str | None,
    typer.Option("--password", help="Your password; `-` reads a line of standard input. Better: be asked."),
]


def setup(
    code: Annotated[
        str | None,
        typer.Argument(metavar="CODE", help="The one-time code, or the link, that `trainshed up` printed."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Your name; asked for when missing.")] = None,
    email: Email = None,
    password: Password = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make the first owner of a fresh installation, and sign in as them.

    `trainshed up` prints a one-time code at its first start. Whoever has it becomes the owner and the
    administrator. The token is kept for this user of this machine.

    \b
    Examples:
      trainshed setup tss_4x7k...
      echo "$PASSWORD" | trainshed setup tss_4x7k... --name Ada --email ada@example.org --password -
    """
    code = output.ask("The setup code", code, "an argument")
    if "://" in code:
        url, code = _taken_apart(code, url)
    name = output.ask("Your name", name, "--name")
    email = output.ask("Your e-mail address", email, "--email")
    password = output.ask("A password of at least 10 characters", password, "--password", secret=True, twice=True)
    with output.connect(url) as client:
        made = client.setup(code, name, email, password)
        _keep(client.url, made.token, email, made.id)
        _tell(client.url, email, as_json)


def _taken_apart(link: str, url: str | None) -> tuple[str | None, str]:
    """The server and the code in a link like `http://127.0.0.1:8765/setup?code=...`."""
    parts = urlsplit(link)
    told = parse_qs(parts.query) | parse_qs(parts.fragment)
    code = told.get("code", [parts.path.rpartition("/")[2]])[0]
    return url or f"{parts.scheme}://{parts.netloc}", code


def login(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="The server's address; without it the one used last.")
    ] = None,
    email: Email = None,
    password: Password = None,
    token: Annotated[
        str | None,
        typer.Option("--token", help="An access token instead of a password; `-` reads it from standard input."),
    ] = None,
    code: Annotated[str | None, typer.Option("--code", help="The code of your second factor, if you have one.")] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Sign in through the browser, or here with a password.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Sign in to a server and keep a token for it.

    Opens the server's page in your browser, where you let this command line in; `--no-browser`, or `--email`, asks
    for the password here. The token is kept for this user of this machine, in a file that only they can read. All
    other commands speak to the server signed in to last, or to the one that TRAINSHED_URL names.

    \b
    Examples:
      trainshed login
      trainshed login https://train.example.org --email ada@example.org
      trainshed login https://train.example.org --token -
    """
    with output.connect(url, "none yet") as client:
        if token is not None:
            client.transport.token = output.ask("The token", token, "--token", secret=True).strip()
            email, token_id = client.me().email, ""
        elif browser and email is None and password is None and _has_browser():
            client.transport.token = ""
            token_id = _by_browser(client).id
            email = client.me().email
        else:
            client.transport.token = ""
            email = output.ask("Your e-mail address", email, "--email")
            password = output.ask("Your password", password, "--password", secret=True)
            token_id = _by_password(client, email, password, code).id
        _keep(client.url, client.transport.token, email, token_id)
        _tell(client.url, email, as_json)


def _has_browser() -> bool:
    """Whether a browser can be opened here: not from a script, nor on a machine without one."""
    import webbrowser

    try:
        return sys.stdin.isatty() and webbrowser.get() is not None
    except webbrowser.Error:
        return False


def _by_browser(client: Client) -> TokenView:
    import webbrowser

    from trainshed.client.browser import BrowserSignIn

    with BrowserSignIn(client.url, _token_name()) as asking:
        output.note(f"Opening {asking.address}")
        output.note("Let this command line in there; Ctrl-C, then --no-browser, signs in here instead.")
        webbrowser.open(asking.address)
        return client.exchange(asking.wait(_BROWSER_SECONDS), asking.verifier)


def _by_password(client: Client, email: str, password: str, code: str | None) -> TokenView:
    """Asks for a second factor only where the account has one."""
    from trainshed.errors import SecondFactorNeeded

    try:
        return client.sign_in(email, password, _token_name(), code or "")
    except SecondFactorNeeded:
        code = output.ask("The code of your authenticator app", None, "--code")
        return client.sign_in(email, password, _token_name(), code)


def logout(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="The server's address; without it the one used last.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Give up the token of a server: revoke it there and forget it here.

    A token that was pasted with `login --token` is only forgotten; `trainshed token revoke` ends it.

    \b
    Examples:
      trainshed logout
      trainshed logout https://train.example.org
    """
    from trainshed.client import credentials

    with output.connect(url) as client:
        entry = credentials.read().servers.get(client.url)
        is_revoked = bool(entry and entry.token_id and _revoke(client.url, entry.token, entry.token_id))
        credentials.forget(client.url)
        if as_json:
            output.emit({"url": client.url, "was_signed_in": entry is not None, "is_revoked": is_revoked})
        elif entry is None:
            output.say(f"You were not signed in to {client.url}.")
        else:
            how = "revoked and forgotten" if is_revoked else "forgotten here; it stays valid until it is revoked"
            output.say(f"Signed out of {client.url}: the token is {how}.")


def _revoke(url: str, token: str, token_id: str) -> bool:
    """End the token at the server; False when that cannot be done now."""
    from trainshed.errors import TrainshedError

    with output.connect(url, token) as client:
        try:
            client.tokens.revoke(token_id)
        except TrainshedError:
            return False
        return True


def _token_name() -> str:
    import getpass
    import socket

    return f"trainshed login of {getpass.getuser()} on {socket.gethostname()}"[:200]


def _keep(url: str, token: str | None, email: str, token_id: str) -> None:
    from trainshed.client import credentials

    credentials.save(url, credentials.Credential(token or "", email, token_id))


def _tell(url: str, email: str, as_json: bool) -> None:
    from trainshed.schemas import settings

    if as_json:
        output.emit({"url": url, "email": email})
        return
    output.say(f"Signed in to {url} as {email}.")
    for name in ("TRAINSHED_URL", "TRAINSHED_TOKEN"):
        if settings.text(name):
            output.note(f"Note: {name} is set in this environment and goes before what was kept.")
    output.say("Next: trainshed dataset import FOLDER   (one sub-folder per class)")
