"""Signing in and out, making an account, and the ways in that a person has: allauth's views at our addresses."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from allauth.account import views as account
from allauth.idp.oidc import views as identity
from allauth.mfa.base import views as factors
from allauth.mfa.recovery_codes import views as recovery
from allauth.mfa.totp import views as totp
from allauth.socialaccount import views as social
from allauth.socialaccount.models import SocialApp
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import include, path, re_path, reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from trainshed.errors import NotSignedIn, TrainshedError
from trainshed.server.services import accounts, applications, people, providers
from trainshed.server.web.door import problem


def middleware(get_response: Any) -> Any:
    """Errors of ours in allauth's views as pages, and the way to another site as a page that goes on by itself.

    A browser follows no redirect to another origin after a form, because our policy lets forms lead here alone.
    """

    class Around:
        def __call__(self, request: HttpRequest) -> HttpResponseBase:
            response: HttpResponseBase = get_response(request)
            address = response.headers.get("Location", "") if response.status_code in (301, 302, 303, 307) else ""
            host = urlsplit(address).netloc
            if not host or host == request.get_host() or request.path.startswith("/api/"):
                return response
            page = render(request, "people/leaving.html", {"address": address, "host": host})
            page.cookies, page["Cache-Control"] = response.cookies, "no-store"
            return page

        def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
            return problem(request, error) if isinstance(error, TrainshedError) else None

    return Around()


class SignIn(account.LoginView):
    """A session for an e-mail address and a password, or the way to a provider."""

    template_name = "account/login.html"

    def get_context_data(self, **named: Any) -> dict[str, Any]:
        more = {"nobody_yet": not people.exist(), "is_open": accounts.may_sign_up(self.request)}
        return {**super().get_context_data(**named), **more, "providers": providers.names()}


class SignUp(account.SignupView):
    """An account for whoever is welcome."""

    def get_initial(self) -> dict[str, Any]:
        invite = accounts.invite_of(self.request)
        return {**super().get_initial(), **({"email": invite.email} if invite else {})}

    def get_context_data(self, **named: Any) -> dict[str, Any]:
        more = {"invite": accounts.invite_of(self.request), "providers": providers.names()}
        return {**super().get_context_data(**named), **more}


class Links(social.ConnectionsView):
    """Unlinks an account; the list of them stands among the other ways in."""

    success_url = reverse_lazy("sign-in-settings")


@never_cache
def sign_in_with(request: HttpRequest, provider_id: str) -> HttpResponse:
    """To a provider: its page asks who it is, and leads back to `callback`."""
    return providers.Login.adapter_view(_adapter(request, provider_id))(request)  # type: ignore[no-any-return]


@never_cache
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Back from a provider."""
    return providers.Callback.adapter_view(_adapter(request, provider_id))(request)  # type: ignore[no-any-return]


def _adapter(request: HttpRequest, provider_id: str) -> Any:
    try:
        return providers.adapter_of(request, provider_id)
    except SocialApp.DoesNotExist:
        raise Http404 from None


@csrf_exempt
def authorize(request: HttpRequest) -> HttpResponseBase:
    """An application asks who this is; what it gets ends with this session."""
    applications.require_known(*(request.GET.get(name, "") for name in ("client_id", "redirect_uri")))
    response = identity.authorization(request)
    code = _code_in(response.headers.get("Location", ""))
    if code:
        applications.granted(code, request.session.get("about", {}).get("public_id", ""))
    return response  # type: ignore[no-any-return]


def _code_in(address: str) -> str:
    return parse_qs(urlsplit(address).query).get("code", [""])[0]


@csrf_exempt
def token(request: HttpRequest) -> HttpResponseBase:
    """Tokens for an application, as long as the session that they go back to has not ended."""
    try:
        session_id = applications.session_of(request.POST.dict())
    except NotSignedIn as error:
        return JsonResponse({"error": "invalid_grant", "error_description": error.message}, status=400)
    response = identity.token(request)
    if response.status_code == 200:
        applications.bind(json.loads(response.content), session_id)
    return response  # type: ignore[no-any-return]


def no_device_grant(request: HttpRequest) -> HttpResponse:
    raise Http404


def sign_in_settings(request: HttpRequest, **_named: Any) -> HttpResponse:
    """Where allauth's lists would be, ours is."""
    return redirect("sign-in-settings")


# allauth finds its views by these names.
_account = [
    path("sign-in", SignIn.as_view(), name="account_login"),
    path("sign-up", SignUp.as_view(), name="account_signup"),
    path("sign-out", account.logout, name="account_logout"),
    path("sign-in/again", account.reauthenticate, name="account_reauthenticate"),
    path("sign-in/inactive", account.account_inactive, name="account_inactive"),
    path("sign-in/second-factor", factors.authenticate, name="mfa_authenticate"),
    path("sign-in/second-factor/again", factors.reauthenticate, name="mfa_reauthenticate"),
    path("email/sent", account.email_verification_sent, name="account_email_verification_sent"),
    re_path(r"^email/confirm/(?P<key>[-:\w]+)$", account.confirm_email, name="account_confirm_email"),
    path("password/forgotten", account.password_reset, name="account_reset_password"),
    path("password/forgotten/sent", account.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^password/new/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[^/]+)$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path("password/changed", account.password_reset_from_key_done, name="account_reset_password_from_key_done"),
    path("settings/email", account.email, name="account_email"),
    path("settings/password", account.password_change, name="account_change_password"),
    path("settings/password/first", account.password_set, name="account_set_password"),
]
_factors = [
    path("settings/second-factor", sign_in_settings, name="mfa_index"),
    path("settings/second-factor/app", totp.activate_totp, name="mfa_activate_totp"),
    path("settings/second-factor/app/off", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path("settings/second-factor/codes", recovery.view_recovery_codes, name="mfa_view_recovery_codes"),
    path("settings/second-factor/codes/new", recovery.generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("settings/second-factor/codes/file", recovery.download_recovery_codes, name="mfa_download_recovery_codes"),
]
_social = [
    path("sign-in/with/<str:provider_id>", sign_in_with, name="sign-in-with"),
    path("sign-in/with/<str:provider_id>", sign_in_with, name="openid_connect_login"),
    path("sign-in/with/<str:provider_id>/callback", callback, name="openid_connect_callback"),
    path("sign-in/cancelled", social.login_cancelled, name="socialaccount_login_cancelled"),
    path("sign-in/error", social.login_error, name="socialaccount_login_error"),
    path("sign-up/with", social.signup, name="socialaccount_signup"),
    path("settings/sign-in/links", Links.as_view(), name="socialaccount_connections"),
]
_oidc = [
    path(".well-known/openid-configuration", identity.configuration, name="configuration"),
    path(".well-known/jwks.json", identity.jwks, name="jwks"),
    path("identity/authorize", authorize, name="authorization"),
    path("identity/logout", identity.logout, name="logout"),
    path("identity/token", token, name="token"),
    path("identity/revoke", identity.revoke, name="revoke"),
    path("identity/userinfo", identity.user_info, name="userinfo"),
    # allauth's description of us asks for this name; we offer no device grant.
    path("identity/device", no_device_grant, name="device_code"),
]
urlpatterns = [*_account, *_factors, *_social, path("", include(([path("", include((_oidc, "oidc")))], "idp")))]
