"""Settings without the workarounds that transaction pooling usually asks for: server-side cursors stay on, connections may
live for ever, search_path comes by OPTIONS, statements are bound and prepared by the server."""
import os

import django

SECRET_KEY = "nothing here is secret"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.postgres", "shop", "tenants"]
DATABASE_ROUTERS = ["demo.router.TenantRouter"]
LOGGING_CONFIG = None

TENANTS = ["tenant_1", "tenant_2", "tenant_3", "tenant_4"]
MAX_AGE = {"0": 0, "None": None}[os.environ.get("DEMO_CONN_MAX_AGE", "0")]

# Django 3.2 (Debian's own) knows neither psycopg 3 nor server-side binding.
PSYCOPG3 = django.VERSION >= (4, 2)
PREPARED = {"server_side_binding": True, "prepare_threshold": 1} if PSYCOPG3 else {}
# DEMO_PREPARED=one: only the alias `prepared`, so that what breaks there does not hide what else breaks.
EVERYWHERE = PREPARED if os.environ.get("DEMO_PREPARED", "all") == "all" else {}


def database(options=None, **more):
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("DEMO_HOST", "127.0.0.1"),
        "PORT": os.environ.get("DEMO_PORT", "5432"),
        "NAME": os.environ.get("DEMO_NAME", "shop"),
        "USER": os.environ.get("DEMO_USER", "app"),
        "CONN_MAX_AGE": MAX_AGE,
        "DISABLE_SERVER_SIDE_CURSORS": False,
        "OPTIONS": options if options is not None else dict(EVERYWHERE),
        **more,
    }


DATABASES = {
    "default": database(),
    "tokyo": database(TIME_ZONE="Asia/Tokyo"),
    "prepared": database(dict(PREPARED)),
}
for name in TENANTS:
    DATABASES[name] = database({**EVERYWHERE, "options": "-c search_path=%s" % name})
