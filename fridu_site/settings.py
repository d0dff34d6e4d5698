"""Settings, all from the environment; the defaults suit a checkout on one's own box."""

from __future__ import annotations

import sys
from pathlib import Path

import environ
from csp.constants import NONE, SELF

BASE = Path(__file__).resolve().parent.parent
env = environ.Env()

DEBUG = env.bool("FRIDU_DEBUG", False)
SECRET_KEY = env.str("FRIDU_SECRET_KEY", "" if not DEBUG else "only-for-debugging")
if not SECRET_KEY:
    key_file = Path(env.str("FRIDU_SECRET_KEY_FILE", str(BASE / "var" / "secret-key")))
    SECRET_KEY = key_file.read_text().strip() if key_file.exists() else ""
if not SECRET_KEY:
    # Commands and tests run without a site; a panel without a key of its own is refused by a system check.
    SECRET_KEY = "no-key-set"  # noqa: S105
ALLOWED_HOSTS = env.list("FRIDU_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("FRIDU_CSRF_TRUSTED_ORIGINS", default=[])
FRIDU_VERSION = "0.1"
# Where an image's archive that came through the panel waits for the worker; the largest that may, in GiB.
FRIDU_UPLOADS = env.str("FRIDU_UPLOADS", "/var/lib/fridu-panel/uploads")
FRIDU_UPLOAD_GIB = env.int("FRIDU_UPLOAD_GIB", 4)
FRIDU_SNAPSHOTS = env.int("FRIDU_SNAPSHOTS", 8)  # at most so many of one machine

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "accounts.admin_config.PanelAdminConfig",
    "django_htmx",
    "csp",
    "allauth",
    "allauth.account",
    "ui",
    "audit",
    "accounts",
    "hosts",
    "zones",
    "machines",
    "firewall",
    "fridu_site",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "accounts.middleware.RefusalLog",
]
ROOT_URLCONF = "fridu_site.urls"
WSGI_APPLICATION = "fridu_site.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "fridu_site.context.shell",
            ],
        },
    }
]

DATABASES = {"default": env.db("FRIDU_DATABASE_URL", default=f"sqlite:///{BASE / 'var' / 'fridu.sqlite3'}")}
DATABASES["default"]["ATOMIC_REQUESTS"] = False
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Four writers with deferred transactions: 697 of 1000 "database is locked"; with IMMEDIATE and WAL: 0.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
# Shared by every process of the panel, or each would count tries to sign in for itself; JSON, never a pickle.
CACHES = {"default": {"BACKEND": "accounts.cache.TableCache", "TIMEOUT": 300}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_RATE_LIMITS = {"login": "30/m/ip", "login_failed": "10/m/ip,5/5m/key", "reauthenticate": "10/m/user"}
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_ADAPTER = "accounts.adapter.Adapter"
ACCOUNT_FORMS = {"login": "accounts.forms.SignInForm", "change_password": "accounts.forms.PasswordForm"}
# How many proxies of ours write X-Forwarded-For before a request gets here; what stands before theirs is not believed.
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("FRIDU_PROXIES", 0)

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
SECURE_HTTPS = env.bool("FRIDU_HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_HTTPS
if SECURE_HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31_536_000
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "style-src": [SELF],
        "script-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

LANGUAGE_CODE = "en"
TIME_ZONE = env.str("FRIDU_TIME_ZONE", "UTC")
USE_TZ = True
USE_I18N = False
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("FRIDU_STATIC_ROOT", str(BASE / "static-built")))
WHITENOISE_USE_FINDERS = True
# Scripts of others that deploy/assets.py installed beside the libraries.
STATICFILES_DIRS = [path for path in (Path(sys.prefix) / "share" / "fridu",) if path.is_dir()]

EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

CELERY_BROKER_URL = env.str("FRIDU_BROKER_URL", "redis+socket:///run/fridu/redis.sock")
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_PUBLISH_RETRY = False
# No limit: where Redis hangs as a job ends, its end is never acknowledged, counts as work in hand for ever, and a
# worker that may have one at a time never listens again (at the second outage; with 0 not in 130).
CELERY_WORKER_PREFETCH_MULTIPLIER = 0
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 24 * 3600,
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    # A page must not wait for a broker that is away: the sweep sends again.
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
