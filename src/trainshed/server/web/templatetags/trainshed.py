"""What templates say that Django's own tags do not: built assets, icons, sizes, times and addresses."""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path
from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

register = template.Library()
ASSETS = Path(__file__).parents[1] / "assets"


@functools.cache
def _manifest() -> dict[str, Any]:
    """What the build of `frontend/` has made: source name -> file with its hash."""
    made: dict[str, Any] = json.loads((ASSETS / "manifest.json").read_text(encoding="utf-8"))
    return made


@register.simple_tag
def asset(name: str) -> str:
    """The address of a built file, such as `src/main.ts`; its name changes with its content."""
    return f"/assets/{_manifest()[name]['file']}"


@register.simple_tag
def styles(name: str) -> list[str]:
    """The addresses of the style sheets of a built script."""
    return [f"/assets/{path}" for path in _manifest()[name].get("css", [])]


@register.simple_tag
def icon(name: str, classes: str = "") -> SafeString:
    """One of our icons, as decoration: what it means must stand beside it or in the button's label."""
    drawn = format_html('<svg class="icon {}" aria-hidden="true">', classes)
    return drawn + format_html('<use href="/assets/{}#{}"></use></svg>', _manifest()["icons.svg"]["file"], name)


@register.simple_tag
def mark() -> str:
    """The address of our sign."""
    return f"/assets/{_manifest()['mark.svg']['file']}"


@register.simple_tag(takes_context=True)
def to(context: Any, name: str, **named: str) -> str:
    """The address of a page of the project that is shown, such as `{% to 'dataset' dataset_id=dataset.id %}`."""
    place = context["frame"].place
    return reverse(name, kwargs={"workspace_id": place.workspace_id, "project_id": place.project_id, **named})


@register.simple_tag(takes_context=True)
def api(context: Any, path: str = "") -> str:
    """The address of something in the project that is shown, in the REST API."""
    place = context["frame"].place
    return f"/api/v1/workspaces/{place.workspace_id}/projects/{place.project_id}{path}"


@register.filter
def entry(values: dict[str, Any] | None, key: str) -> Any:
    """`{{ values|entry:key }}`: what stands under a key that is only known to the template."""
    return values.get(key) if values else None


@register.filter
def ticked(words: str) -> SafeString:
    """Help texts have their code in backticks; on a page it looks like code."""
    parts = words.split("`")
    drawn = (format_html("<code>{}</code>" if index % 2 else "{}", part) for index, part in enumerate(parts))
    return format_html_join("", "{}", ((part,) for part in drawn))


_BROWSERS = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
_SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


@register.filter
def browser(said: str) -> str:
    """What a browser calls itself, told shortly: `Firefox on Linux`. Only a guess: a browser may say anything."""
    name = next((name for mark, name in _BROWSERS.items() if mark in said), "")
    system = next((name for mark, name in _SYSTEMS.items() if mark in said), "")
    if not name:
        return said[:60] or _("Unknown browser")
    return _("%(browser)s on %(system)s") % {"browser": name, "system": system} if system else name


@register.filter
def scope_words(scope: str) -> str:
    """What a token's scope opens."""
    words = {
        "read": _("read"),
        "write": _("change datasets, models and projects"),
        "jobs": _("run jobs and ask models"),
        "admin": _("manage people, tokens and the workspace"),
    }
    return words.get(scope, scope)


@register.filter
def size(num_bytes: float) -> str:
    """`1536` -> `1.5 KiB`."""
    if num_bytes < 1024:
        return f"{num_bytes:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        num_bytes /= 1024
        if round(num_bytes, 1) < 1024:
            return f"{num_bytes:.1f} {unit}"
    return f"{num_bytes / 1024:.1f} TiB"


@register.simple_tag
def age(at: float | None) -> SafeString:
    """Seconds since 1970 -> `3 minutes ago`, which goes on ageing in the open page; `never` for nothing."""
    if at is None:
        return format_html("{}", ago(at))
    return format_html('<time datetime="{}" data-age>{}</time>', moment(at), ago(at))


def ago(at: float | None) -> str:
    """Seconds since 1970 -> `3 minutes ago`."""
    if at is None:
        return _("never")
    return _age(max(0.0, time.time() - at))


def _age(seconds: float) -> str:
    if seconds < 10:
        return _("just now")
    if seconds < 60:
        return _("less than a minute ago")
    if seconds < 3600:
        num = int(seconds // 60)
        return ngettext("%(num)d minute ago", "%(num)d minutes ago", num) % {"num": num}
    if seconds < 86400:
        num = int(seconds // 3600)
        return ngettext("%(num)d hour ago", "%(num)d hours ago", num) % {"num": num}
    num = int(seconds // 86400)
    return ngettext("%(num)d day ago", "%(num)d days ago", num) % {"num": num}


@register.filter
def moment(at: float | None) -> str:
    """Seconds since 1970 -> ISO 8601 in UTC, for `<time datetime>`; the page shows it in the reader's zone."""
    return "" if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


@register.filter
def lasted(seconds: float | None) -> str:
    """`75.2` -> `1 min 15 s`."""
    if seconds is None:
        return "–"
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


@register.filter
def percent(share: float | str | None) -> str:
    """`0.98765` -> `98.8 %`; nothing known (`None`, or a template's empty text) is a dash, never 0."""
    return f"{100 * share:.1f} %" if isinstance(share, int | float) else "–"
