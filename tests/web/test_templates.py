"""What the sources of the pages promise each other: nothing inline, and every icon, component and word is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from allauth import __file__ as allauth_file

from trainshed.server import web

ROOM = Path(web.__file__).parent
ALLAUTH = Path(allauth_file).parent / "templates"
TEMPLATES = {str(path.relative_to(ROOM / "templates")): path.read_text() for path in ROOM.rglob("templates/**/*.html")}
FRONTEND = Path(__file__).parents[2] / "frontend" / "src"
SCRIPTS = {str(path.relative_to(FRONTEND)): path.read_text() for path in FRONTEND.rglob("*.ts")}
VIEWS = {path.name: path.read_text() for path in ROOM.glob("*.py")}
ICONS = set(re.findall(r'"([a-z0-9-]+)"', SCRIPTS["icons.ts"].partition("=")[2]))
each_template = pytest.mark.parametrize("name", TEMPLATES)
# An expression that Alpine's build for a strict policy can read: a name, or a path of names, or a denied one.
_NAME = re.compile(r"!?[\w$]+(\.[\w$]+)*(\(\))?")


def _without_comments(source: str) -> str:
    return re.sub(r"{#.*?#}|{% comment %}.*?{% endcomment %}", "", source, flags=re.DOTALL)


@each_template
def test_nothing_is_inline(name):
    source = _without_comments(TEMPLATES[name])
    assert not re.search(r"<style|\sstyle\s*=|\son\w+\s*=|javascript:|\|safe\b|autoescape off", source, re.IGNORECASE)
    for attributes in re.findall(r"<script\b([^>]*)>", source):
        assert 'type="application/json"' in attributes or "src=" in attributes, attributes


@each_template
def test_alpine_is_told_names_and_no_expressions(name):
    said = re.findall(r'\s(?:x-(?!ref|cloak|transition)[\w:.-]+|[@:][\w:.-]+)="([^"]*)"', TEMPLATES[name])
    assert [words for words in said if words and not _NAME.fullmatch(words)] == []


@each_template
def test_every_icon_that_a_template_names_is_built(name):
    named = set(re.findall(r'{% icon ["\']([^"\']+)["\']|\bicon=["\']([^"\']+)["\']', TEMPLATES[name]))
    assert {one or other for one, other in named} <= ICONS


def test_every_icon_that_is_built_is_shown_somewhere():
    everything = " ".join([*TEMPLATES.values(), *(text for name, text in SCRIPTS.items() if name != "icons.ts")])
    assert sorted(icon for icon in ICONS if not re.search(rf'["\'#]{icon}["\'`]', everything)) == []


def test_every_component_is_used_and_every_template_that_is_named_exists():
    sources = {**TEMPLATES, **VIEWS}
    named = {
        path for source in sources.values() for path in re.findall(r'["\']([a-z_]+(?:/[a-z_]+)*\.html)["\']', source)
    }
    named |= {path for source in sources.values() for path in re.findall(r'["\'(,]([a-z_]+\.html)', source)}
    assert named - {"index.html"} <= TEMPLATES.keys()
    given = {path for path in TEMPLATES if path.startswith(("account/", "mfa/", "socialaccount/", "idp/"))}
    assert TEMPLATES.keys() - named - given == set()
    # A page of allauth's that ours stands in for: else nobody would ever see it.
    theirs = {str(path.relative_to(ALLAUTH)) for path in ALLAUTH.rglob("*.html")}
    ours = {"socialaccount/link_instead.html", "account/password_reset_help_text.html"}
    assert given - named - ours <= theirs


def test_every_island_is_built_and_every_built_one_is_on_a_page():
    on_pages = {island for source in TEMPLATES.values() for island in re.findall(r'data-island="([\w-]+)"', source)}
    listed = set(re.findall(r'import\("\./islands/([\w-]+)"\)', SCRIPTS["main.ts"]))
    built = {Path(name).stem for name in SCRIPTS if name.startswith("islands/")}
    assert on_pages == listed
    assert listed <= built


def test_every_state_that_alpine_knows_is_on_a_page():
    known = set(re.findall(r'Alpine\.data\("(\w+)"', SCRIPTS["components.ts"]))
    assert known == {one for source in TEMPLATES.values() for one in re.findall(r'x-data="(\w+)"', source)}


def test_every_word_that_a_script_says_stands_in_the_texts():
    told = set(re.findall(r'^\s*"([^"]+)": "', TEMPLATES["texts.html"], re.MULTILINE))
    said = {word for source in SCRIPTS.values() for word in re.findall(r'\btext\("([^"]+)"', source)}
    assert said <= told


@each_template
def test_a_comment_of_several_lines_is_one(name):
    """`{# #}` ends with its line: what goes on would be text on the page."""
    assert not re.search(r"{#[^}]*\n", TEMPLATES[name])


def test_what_a_script_draws_is_text_and_no_markup():
    for name, source in SCRIPTS.items():
        assert not re.search(
            r"innerHTML|outerHTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function", source
        ), name
