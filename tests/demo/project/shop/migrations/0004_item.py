"""What schema changes are made of: a column renamed, retyped and added, data moved, a constraint."""
from django.db import migrations, models


def label(apps, schema_editor):
    apps.get_model("shop", "Item").objects.update(label=models.functions.Upper("name"))


class Migration(migrations.Migration):
    dependencies = [("shop", "0003_entry_note")]
    operations = [
        migrations.RenameField("item", "cost", "price"),
        migrations.AlterField("item", "price", models.BigIntegerField()),
        migrations.AddField("item", "label", models.CharField(max_length=80, default="")),
        migrations.RunPython(label, migrations.RunPython.noop),
        migrations.AddConstraint("item", models.UniqueConstraint(fields=["name", "label"], name="item_name_label")),
    ]
