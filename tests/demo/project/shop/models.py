from django.db import models


class Entry(models.Model):
    """100,000 of them; what is moved between two leaves the sum as it is."""
    amount = models.IntegerField()
    note = models.CharField(max_length=40)

    class Meta:
        indexes = [models.Index(fields=["note"], name="entry_note")]


class Job(models.Model):
    done = models.BooleanField(default=False)
    runs = models.IntegerField(default=0)


class JobRun(models.Model):
    job = models.ForeignKey(Job, on_delete=models.CASCADE)
    worker = models.IntegerField()


class Event(models.Model):
    at = models.DateTimeField()


class SharedNote(models.Model):
    """One table for all tenants; row-level security shows each role its own rows."""
    tenant = models.CharField(max_length=20)
    body = models.TextField()


class Item(models.Model):
    """Its table is altered back and forth while others work: see migrations from 0004 on."""
    name = models.CharField(max_length=40)
    price = models.BigIntegerField()
    label = models.CharField(max_length=80, default="")

    class Meta:
        indexes = [models.Index(fields=["price"], name="item_price")]
        constraints = [models.UniqueConstraint(fields=["name", "label"], name="item_name_label")]
