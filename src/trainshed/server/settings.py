"""Django's settings, all derived from the one table in `trainshed.schemas.settings`."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from trainshed.errors import StartRefused
from trainshed.schemas import settings as table
from trainshed.server import home

HOME = home.prepare()
SECRET_KEY = home.secret_key()
DEBUG = False
PUBLIC_URL = table.text("TRAINSHED_PUBLIC_URL").rstrip("/")
_HTTPS = PUBLIC_URL.startswith("https://")

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "ninja",
    "trainshed.server.records",
    "trainshed.server.web",
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
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "trainshed.server.urls"
STATIC_URL = "/static/"
_CONTEXT = ["django.template.context_processors.request", "django.template.context_processors.i18n"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": _CONTEXT},
    }
]
CSRF_FAILURE_VIEW = "trainshed.server.urls.forged"
SESSION_COOKIE_AGE = 14 * 86400
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
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
