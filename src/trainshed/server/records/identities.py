"""What a provider gave us of a person: the refresh token of their account there, encrypted."""

from django.db import models

from trainshed.server.records.ids import Key, RandomId, wall_clock
from trainshed.server.records.people import Person


class ProviderGrant(models.Model):
    """A refresh token of one account at one provider; AES-256-GCM, bound to both (`services/vault.py`)."""

    id = RandomId()
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="provider_grants")
    provider = models.CharField(max_length=200)
    subject = models.CharField(max_length=300)
    sealed = models.TextField()
    updated_at = models.FloatField(default=wall_clock)

    class Meta:
        db_table = "provider_grant"
        constraints = [models.UniqueConstraint(fields=["provider", "subject"], name="provider_grant_once")]


class LoginCode(models.Model):
    """A command line that a person let in, in their browser: exchanged once for a token (RFC 8252, RFC 7636)."""

    id = RandomId()
    person = models.ForeignKey(Person, on_delete=models.CASCADE)
    sha256 = Key(max_length=64, unique=True)
    challenge = models.CharField(max_length=64)
    token_name = models.CharField(max_length=200)
    expires_at = models.FloatField()

    class Meta:
        db_table = "login_code"
