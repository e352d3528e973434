from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0004_item")]
    operations = [AddIndexConcurrently("item", models.Index(fields=["price"], name="item_price"))]
