from django.conf import settings


class TenantRouter:
    """Each tenant has a schema with tables of its own; everything else is in public."""

    def allow_migrate(self, db, app_label, **hints):
        if db in settings.TENANTS:
            return app_label == "tenants"
        return db == "default" and app_label != "tenants"
