from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0002_tenants")]
    operations = [AddIndexConcurrently("entry", models.Index(fields=["note"], name="entry_note"))]
