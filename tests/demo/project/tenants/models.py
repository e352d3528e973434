from django.db import models


class Note(models.Model):
    """Lives in every tenant's schema; which one is meant is up to search_path alone."""
    tenant = models.CharField(max_length=20)
    body = models.TextField()

    class Meta:
        indexes = [models.Index(fields=["tenant"], name="note_tenant")]
