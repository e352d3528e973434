"""A schema and rights for every tenant, and row-level security by role on the table they share."""
from django.conf import settings
from django.db import migrations


def forwards(apps, schema_editor):
    run = schema_editor.execute
    for name in settings.TENANTS:
        run("CREATE SCHEMA %s" % name)
        run("GRANT USAGE ON SCHEMA %s TO %s" % (name, name))
        run("GRANT SELECT, INSERT ON shop_sharednote TO %s" % name)
        run("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO %s" % name)
    run("ALTER TABLE shop_sharednote ENABLE ROW LEVEL SECURITY")
    run("CREATE POLICY own_rows ON shop_sharednote USING (tenant = current_user) WITH CHECK (tenant = current_user)")


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunPython(forwards)]
