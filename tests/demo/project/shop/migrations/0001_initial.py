from django.db import migrations, models
import django.db.models.deletion

ID = ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel("Entry", [ID, ("amount", models.IntegerField()), ("note", models.CharField(max_length=40))]),
        migrations.CreateModel("Job", [ID, ("done", models.BooleanField(default=False)),
                                       ("runs", models.IntegerField(default=0))]),
        migrations.CreateModel("JobRun", [ID, ("worker", models.IntegerField()), (
            "job", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="shop.job"))]),
        migrations.CreateModel("Event", [ID, ("at", models.DateTimeField())]),
        migrations.CreateModel("SharedNote", [ID, ("tenant", models.CharField(max_length=20)), ("body", models.TextField())]),
        migrations.CreateModel("Item", [ID, ("name", models.CharField(max_length=40)), ("cost", models.IntegerField())]),
    ]
