from django.db import migrations, models


def grant(apps, schema_editor):
    # The schema's name is not said: search_path, given by OPTIONS, decides.
    schema_editor.execute("GRANT SELECT, INSERT ON tenants_note TO app")


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]
    operations = [
        migrations.AddIndex("note", models.Index(fields=["tenant"], name="note_tenant")),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
