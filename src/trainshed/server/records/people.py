"""People, the workspaces they share, and the tokens that speak for them."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models

from trainshed.server.records.ids import Key, RandomId, wall_clock


class PersonManager(BaseUserManager["Person"]):
    """Creates people; e-mail addresses are compared in lower case."""

    def create_person(self, email: str, name: str, password: str, *, is_administrator: bool = False) -> Person:
        person = Person(email=email.strip().lower(), name=name.strip(), is_administrator=is_administrator)
        person.set_password(password)
        person.save()
        return person

    def get_by_natural_key(self, username: str | None) -> Person:
        return self.get(email=(username or "").strip().lower())


class Person(AbstractBaseUser):
    """A person who signs in. `is_administrator` is of the installation, not of a workspace."""

    id = RandomId()
    email = models.EmailField(unique=True, max_length=254)
    name = models.CharField(max_length=200)
    is_administrator = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_at = models.FloatField(default=wall_clock)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]
    objects: ClassVar[PersonManager] = PersonManager()

    class Meta:
        db_table = "person"


class Workspace(models.Model):
    """What a team shares. The shelf is the one workspace that everybody may read: its models come with Trainshed."""

    id = RandomId()
    name = models.CharField(max_length=200)
    is_shelf = models.BooleanField(default=False)
    # Made at this person's first sign-in, for them alone; one each.
    personal_of = models.OneToOneField(Person, on_delete=models.SET_NULL, null=True, related_name="personal_workspace")
    weight = models.FloatField(default=1.0)
    created_at = models.FloatField(default=wall_clock)
    # Since when it is to go; until the grace has passed an owner may take that back.
    deleted_at = models.FloatField(null=True)

    class Meta:
        db_table = "workspace"
        constraints = [models.CheckConstraint(condition=models.Q(weight__gt=0), name="workspace_weight_positive")]


class Membership(models.Model):
    """A person's role in a workspace."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10)
    created_at = models.FloatField(default=wall_clock)

    class Meta:
        db_table = "membership"
        constraints = [
            models.UniqueConstraint(fields=["workspace", "person"], name="membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=["viewer", "editor", "owner"]), name="membership_role_known"
            ),
        ]


class Project(models.Model):
    """A named group of datasets, jobs and models inside a workspace."""

    id = RandomId()
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="projects")
    name = models.CharField(max_length=200)
    task = models.CharField(max_length=20, default="classification")
    description = models.TextField(default="", blank=True)
    created_at = models.FloatField(default=wall_clock)

    class Meta:
        db_table = "project"
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="project_name_once")]


class Token(models.Model):
    """A secret that speaks for somebody; only its SHA-256 is stored.

    `personal` speaks for a person (in one workspace alone, if it names one), `robot` for a workspace with a role of its
    own, `service` for the model server, `setup` makes the first owner once.
    """

    id = RandomId()
    kind = models.CharField(max_length=10)
    person = models.ForeignKey(Person, on_delete=models.CASCADE, null=True, related_name="tokens")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, null=True, related_name="tokens")
    name = models.CharField(max_length=200)
    role = models.CharField(max_length=10, default="", blank=True)
    scopes = models.JSONField(default=list)
    # How it begins, so that a person finds the one that they hold.
    beginning = models.CharField(max_length=12, default="", blank=True)
    created_by = models.CharField(max_length=40, default="", blank=True)
    sha256 = Key(max_length=64, unique=True)
    created_at = models.FloatField(default=wall_clock)
    expires_at = models.FloatField(null=True)
    last_used_at = models.FloatField(null=True)
    revoked_at = models.FloatField(null=True)

    class Meta:
        db_table = "token"


class Invite(models.Model):
    """A way into a workspace for whoever has the secret; to one e-mail address if it names one. It works once."""

    id = RandomId()
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="invites")
    role = models.CharField(max_length=10)
    email = models.EmailField(max_length=254, default="", blank=True)
    sha256 = Key(max_length=64, unique=True)
    invited_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.FloatField(default=wall_clock)
    expires_at = models.FloatField()
    reminded_at = models.FloatField(null=True)
    accepted_at = models.FloatField(null=True)
    accepted_by = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, related_name="+")
    revoked_at = models.FloatField(null=True)

    class Meta:
        db_table = "invite"
        constraints = [
            models.CheckConstraint(condition=models.Q(role__in=["viewer", "editor", "owner"]), name="invite_role_known")
        ]


class Share(models.Model):
    """A link to one thing of a workspace, for whoever has the secret: `model`, `version` or `job` (its result)."""

    id = RandomId()
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="shares")
    project = models.ForeignKey(Project, on_delete=models.CASCADE)
    noun = models.CharField(max_length=10)
    thing_id = Key(max_length=20)
    note = models.CharField(max_length=200, default="", blank=True)
    sha256 = Key(max_length=64, unique=True)
    created_by = models.CharField(max_length=40)
    created_at = models.FloatField(default=wall_clock)
    expires_at = models.FloatField()
    last_used_at = models.FloatField(null=True)
    revoked_at = models.FloatField(null=True)

    class Meta:
        db_table = "share"
        constraints = [
            models.CheckConstraint(condition=models.Q(noun__in=["model", "version", "job"]), name="share_noun_known")
        ]
