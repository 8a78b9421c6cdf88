"""Every page that allauth gives us: what somebody signed in gets of it, and what a guest.

The table is compared with the addresses, so a page that comes with a new release fails until somebody has looked at it.
What the pages do is in `test_accounts.py`; here is who may open which, and that reading changes nothing.
"""

from __future__ import annotations

import re

import pytest

from server.api_client import Lab
from web import visitors
from web.visitors import Page

IDS = {"provider_id": "nobody", "key": "no-such-key", "uidb36": "1"}
# name: (GET, POST), each for (somebody signed in without a password, a guest)
TABLE = {
    "account_login": ((302, 200), (302, 200)),
    "account_signup": ((302, 200), (302, 200)),
    "account_logout": ((200, 302), (302, 302)),
    "account_reauthenticate": ((403, 302), (403, 302)),
    "account_inactive": ((200, 200), (405, 405)),
    "mfa_authenticate": ((302, 302), (302, 302)),
    "mfa_reauthenticate": ((403, 302), (403, 302)),
    "account_email_verification_sent": ((200, 200), (405, 405)),
    "account_confirm_email": ((200, 200), (404, 404)),
    "account_reset_password": ((200, 200), (200, 200)),
    "account_reset_password_done": ((200, 200), (405, 405)),
    "account_reset_password_from_key": ((200, 200), (200, 200)),
    "account_reset_password_from_key_done": ((200, 200), (405, 405)),
    "account_email": ((200, 302), (302, 302)),
    "account_change_password": ((302, 302), (302, 302)),
    "account_set_password": ((200, 302), (200, 302)),
    "mfa_index": ((302, 302), (302, 302)),
    "mfa_activate_totp": ((200, 302), (200, 302)),
    "mfa_deactivate_totp": ((404, 302), (404, 302)),
    "mfa_view_recovery_codes": ((404, 302), (405, 302)),
    "mfa_generate_recovery_codes": ((200, 302), (200, 302)),
    "mfa_download_recovery_codes": ((404, 302), (404, 302)),
    "sign-in-with": ((404, 404), (404, 404)),
    "openid_connect_login": ((404, 404), (404, 404)),
    "openid_connect_callback": ((404, 404), (404, 404)),
    "socialaccount_login_cancelled": ((200, 200), (405, 405)),
    "socialaccount_login_error": ((401, 401), (405, 405)),
    "socialaccount_signup": ((302, 302), (302, 302)),
    "socialaccount_connections": ((200, 302), (200, 302)),
    "configuration": ((200, 200), (405, 405)),
    "jwks": ((200, 200), (405, 405)),
    "authorization": ((422, 422), (422, 422)),
    "logout": ((200, 302), (200, 302)),
    "token": ((400, 400), (400, 400)),
    "revoke": ((405, 405), (400, 400)),
    "userinfo": ((401, 401), (401, 401)),
    "device_code": ((404, 404), (404, 404)),
}
# What a guest is led away from, to sign in or home again, and never shown.
ONLY_SIGNED_IN = {name for name, (get, _) in TABLE.items() if get[1] == 302}


def paths() -> dict[str, str]:
    """Each page's address by its name; of those with a pattern one that fits."""
    from trainshed.server.web import accounts

    found = {}
    for name, pattern in visitors.routes_of(accounts.urlpatterns):
        plain = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", re.sub(r"[$^]", "", pattern))
        found[name] = plain.format(**IDS)
    return found


def test_every_page_stands_in_this_table(django):
    assert TABLE.keys() == paths().keys()


@pytest.mark.parametrize("name", TABLE)
def test_whoever_comes_gets_what_the_table_says(visit, lab, name):
    path, got = paths()[name], []
    for method in ("GET", "POST"):
        answers = []
        for person in (Lab().add_member("owner"), None):
            visitor = visit(person)
            visitor.get("/sign-in")
            answers.append(visitor.get(path) if method == "GET" else visitor.send(path))
        got.append(tuple(answer.status_code for answer in answers))
        if name in ONLY_SIGNED_IN:
            assert answers[1].headers["location"].startswith(("/sign-in", "/settings/sign-in"))
        for answer in answers:
            if answer.headers.get("content-type", "").startswith("text/html") and answer.content:
                assert Page(answer.text).heading
    assert tuple(got) == TABLE[name]


def test_reading_a_page_signs_nobody_out_and_changes_nothing(visit, lab):
    """A picture on another site may make a browser read any address."""
    from trainshed.server.records.models import AuditRow

    visitor = visit(lab.person("owner"))
    before = AuditRow.objects.count()
    for path in paths().values():
        visitor.get(path)
    assert AuditRow.objects.count() == before
    assert visitor.ask("GET", "/me").status_code == 200
