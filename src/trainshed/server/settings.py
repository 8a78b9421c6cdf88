"""Django's settings, all derived from the one table in `trainshed.schemas.settings`."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from trainshed.errors import StartRefused
from trainshed.schemas import settings as table
from trainshed.server import home, vault

HOME = home.prepare()
SECRET_KEY = home.secret_key()
DEBUG = False
PUBLIC_URL = table.text("TRAINSHED_PUBLIC_URL").rstrip("/")
_HTTPS = PUBLIC_URL.startswith("https://")

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.messages",
    "ninja",
    "trainshed.server.records",
    # Before allauth, whose templates ours stand in for.
    "trainshed.server.web",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.dropbox",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "allauth.idp.oidc",
]
AUTH_USER_MODEL = "records.Person"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "trainshed.server.api.errors.middleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "trainshed.server.web.accounts.middleware",
]
ROOT_URLCONF = "trainshed.server.urls"
STATIC_URL = "/static/"
_CONTEXT = [
    "django.template.context_processors.request",
    "django.template.context_processors.i18n",
    "django.contrib.messages.context_processors.messages",
    "trainshed.server.web.door.around",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": _CONTEXT},
    }
]
CSRF_FAILURE_VIEW = "trainshed.server.urls.forged"
SESSION_ENGINE = "trainshed.server.records.sessions"
SESSION_COOKIE_AGE = 14 * 86400
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# A browser takes a `__Host-` cookie from this very host alone, for all of it, and only over TLS.
_COOKIE = "__Host-" if _HTTPS else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{_COOKIE}sessionid", f"{_COOKIE}csrftoken"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
CACHES = {"default": {"BACKEND": "trainshed.server.records.cache.DatabaseCache"}}
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]

# Accounts: what allauth does, with our rules in `services/accounts.py`.
LOGIN_URL, LOGIN_REDIRECT_URL = "account_login", "/"
ACCOUNT_ADAPTER = "trainshed.server.services.accounts.AccountAdapter"
SOCIALACCOUNT_ADAPTER = "trainshed.server.services.accounts.IdentityAdapter"
MFA_ADAPTER = "trainshed.server.services.accounts.SecondFactorAdapter"
IDP_OIDC_ADAPTER = "trainshed.server.services.applications.ApplicationAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_SIGNUP_FORM_CLASS = "trainshed.server.services.accounts.NamedForm"
# Without a mail server nobody could open a link, so only an address that admits somebody has to be proved.
_EMAIL_URL = urlsplit(table.text("TRAINSHED_EMAIL_URL"))
_IS_CLOSED = table.text("TRAINSHED_SIGN_UP").lower() == "closed"
ACCOUNT_EMAIL_VERIFICATION = "optional" if _IS_CLOSED and not _EMAIL_URL.scheme else "mandatory"
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if _EMAIL_URL.scheme else 'console'}.EmailBackend"
EMAIL_HOST, EMAIL_PORT = _EMAIL_URL.hostname or "localhost", _EMAIL_URL.port or 587
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_EMAIL_URL.username or ""), unquote(_EMAIL_URL.password or "")
EMAIL_USE_SSL, EMAIL_USE_TLS = _EMAIL_URL.scheme == "smtps", _EMAIL_URL.scheme == "smtp" and bool(EMAIL_HOST_USER)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = table.text("TRAINSHED_EMAIL_FROM")
ACCOUNT_CHANGE_EMAIL = ACCOUNT_REAUTHENTICATION_REQUIRED = ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_SESSION_REMEMBER = True
# Nobody is sent a mail because somebody else has typed their address.
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = False
# Wrong passwords are counted by our own limits (`services/limits.py`); this one is of the second factor's page.
ACCOUNT_RATE_LIMITS = {"login_failed": "10/10m/key"}
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {"provider_class": "trainshed.server.services.providers.OidcProvider"},
    "dropbox": {"provider_class": "trainshed.server.services.providers.DropboxProvider"},
}
SOCIALACCOUNT_LOGIN_ON_GET = False
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Trainshed"
# Another address counts only once it is proved, with a second factor or without.
MFA_ALLOW_UNVERIFIED_EMAIL = True
IDP_OIDC_PRIVATE_KEY = vault.signing_key()
# An application learns within this time that a session here has ended: it must ask for a new token.
IDP_OIDC_REFRESH_TOKEN_EXPIRES_IN = SESSION_COOKIE_AGE
IDP_OIDC_ACCESS_TOKEN_EXPIRES_IN = IDP_OIDC_ID_TOKEN_EXPIRES_IN = 240

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
# Those that the pages are translated to: else Django's own words would speak the browser's language among ours.
LANGUAGES = [("en", "English")]
APPEND_SLASH = False
# Ids are random strings; the few numbered tables are append-only stories.
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = 20 * 1024 * 1024

ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", table.text("TRAINSHED_HOST")]
if PUBLIC_URL:
    ALLOWED_HOSTS.append(urlsplit(PUBLIC_URL).hostname or "")
    CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if _HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _HTTPS
SECURE_SSL_REDIRECT = _HTTPS
# Our own processes reach web on this machine, past the TLS proxy.
SECURE_REDIRECT_EXEMPT = [r"^api/v1/(attempt|serving|hosts/readings|health)"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"


def _sqlite() -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(HOME / "trainshed.sqlite3"),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 20,
            # A write transaction takes its lock at once, so two writers queue instead of failing in the middle.
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
            "PRAGMA cache_size=-65536; PRAGMA mmap_size=268435456; PRAGMA temp_store=MEMORY",
        },
    }


def _postgresql(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise StartRefused(
            "TRAINSHED_DATABASE_URL must look like postgresql://user:password@host:5432/name.",
            hint="Leave it empty to use SQLite in TRAINSHED_HOME.",
        )
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.strip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 5},
    }


_DATABASE_URL = table.text("TRAINSHED_DATABASE_URL")
DATABASES = {"default": _postgresql(_DATABASE_URL) if _DATABASE_URL else _sqlite()}

_LOG_LEVEL = table.text("TRAINSHED_LOG_LEVEL").lower()
if _LOG_LEVEL not in ("debug", "info", "warning", "error"):
    raise StartRefused(
        f"TRAINSHED_LOG_LEVEL is {_LOG_LEVEL!r}.", hint="It must be `debug`, `info`, `warning` or `error`."
    )
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": _LOG_LEVEL.upper()},
    "loggers": {"httpx": {"level": "WARNING"}, "httpcore": {"level": "WARNING"}},
}
