"""Invites: the way into a workspace, by a link that works once or by a mail with such a link."""

from __future__ import annotations

import time

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from trainshed.errors import Conflict, Forbidden, InvalidInput, NotFound
from trainshed.schemas import InviteLook, InviteView, WorkspaceView
from trainshed.server.records.models import Invite, Membership, Person
from trainshed.server.services import audit, limits, links, members, workspaces
from trainshed.server.services.actors import (
    Actor,
    Need,
    Place,
    gate,
    hash_secret,
    is_at_least,
    new_secret,
    person_actor,
    require_person,
    require_whole_person,
)

MOST_DAYS = 30.0
_DAY_SECONDS = 86400.0


def get(actor: Actor, invite_id: str, *, within: Place, need: Need = "own") -> Invite:
    return gate(_open(), actor, invite_id, need, within)


def visible(actor: Actor, workspace_id: str) -> list[InviteView]:
    """Invites that nobody has used yet, also those whose time has passed."""
    rows = _open().filter(workspace=workspaces.get(actor, workspace_id, "own"))
    return [_view(row) for row in rows.order_by("-created_at")]


def create(actor: Actor, workspace_id: str, *, role: str, email: str = "", expires_in_days: float = 7.0) -> InviteView:
    """Make an invite, and mail it if it is for one e-mail address. The answer alone holds the link."""
    workspace = workspaces.get(actor, workspace_id, "own")
    person = require_person(actor)
    values = {"role": members.proved_role(role), "email": _proved_email(email)}
    if not 1 <= expires_in_days <= MOST_DAYS:
        raise InvalidInput(f"An invite is open for 1 to {MOST_DAYS:.0f} days, not {expires_in_days:g}.")
    limits.take(limits.MAILS, actor.label)
    secret, now = new_secret("invite"), time.time()
    with transaction.atomic():
        row = Invite.objects.create(
            workspace=workspace,
            sha256=hash_secret(secret),
            invited_by=person,
            created_at=now,
            expires_at=now + expires_in_days * _DAY_SECONDS,
            **values,
        )
        audit.note(actor, "invite.create", on=row, role=row.role)
        _mail_after_commit(row, secret)
    return _view(row, secret)


def remind(actor: Actor, workspace_id: str, invite_id: str) -> InviteView:
    """Mail an invite again. The link in it is new, and the earlier one works no more: we keep no secret to repeat."""
    row = get(actor, invite_id, within=Place(workspace_id))
    if not row.email:
        raise Conflict("This invite is for whoever has its link; there is nobody to mail.", hint="Send the link again.")
    if row.expires_at < time.time():
        raise Conflict("This invite has expired.", hint="Make a new one.")
    limits.take(limits.MAILS, actor.label)
    secret = new_secret("invite")
    with transaction.atomic():
        row.reminded_at = time.time()
        if not _open().filter(id=row.id).update(sha256=hash_secret(secret), reminded_at=row.reminded_at):
            raise NotFound()
        audit.note(actor, "invite.remind", on=row)
        _mail_after_commit(row, secret)
    return _view(row, secret)


@transaction.atomic
def revoke(actor: Actor, workspace_id: str, invite_id: str) -> None:
    row = get(actor, invite_id, within=Place(workspace_id))
    _open().filter(id=row.id).update(revoked_at=time.time())
    audit.note(actor, "invite.revoke", on=row)


def look(secret: str) -> InviteLook:
    """What an invite says before it is accepted. Raises the same `NotFound` for an unknown and for a used one."""
    row = _found(secret)
    return InviteLook(
        workspace=row.workspace.name,
        role=row.role,  # type: ignore[arg-type]
        invited_by=row.invited_by.name if row.invited_by else "",
        expires_at=row.expires_at,
    )


def admits(secret: str, email: str) -> bool:
    """Whether whoever has this secret and this e-mail address may make an account where sign-up is closed."""
    try:
        row = _found(secret)
    except NotFound:
        return False
    return row.email in ("", email.strip().lower())


@transaction.atomic
def accept(actor: Actor, secret: str) -> WorkspaceView:
    """Become a member. It works once, for one person; an invite never lowers the role of a member."""
    person = require_whole_person(actor)
    row = _found(secret, for_update=True)
    if row.email and not _proves(person, row.email):
        raise Forbidden(
            "This invite is for another e-mail address.",
            hint="Sign in with the account that has it, or add the address to yours and verify it.",
        )
    membership, is_new = Membership.objects.get_or_create(
        workspace=row.workspace, person=person, defaults={"role": row.role}
    )
    if not is_new and not is_at_least(membership.role, row.role):
        membership.role = row.role
        membership.save(update_fields=["role"])
    row.accepted_at, row.accepted_by = time.time(), person
    row.save(update_fields=["accepted_at", "accepted_by"])
    audit.note(actor, "invite.accept", on=row, role=membership.role)
    return workspaces.show(person_actor(person), row.workspace_id)


def _open() -> QuerySet[Invite]:
    return Invite.objects.filter(accepted_at=None, revoked_at=None)


def _found(secret: str, *, for_update: bool = False) -> Invite:
    rows = _open().filter(sha256=hash_secret(links.secret_in(secret)), workspace__deleted_at=None)
    rows = rows.select_for_update(of=("self",)) if for_update else rows
    row = rows.select_related("workspace", "invited_by").filter(expires_at__gt=time.time()).first()
    if row is None:
        raise NotFound("This invite is unknown, used up, revoked or expired.", hint="Ask for a new one.")
    return row


def _proves(person: Person, email: str) -> bool:
    """Whether somebody has shown that this address is theirs."""
    return EmailAddress.objects.filter(user=person, verified=True, email__iexact=email).exists()  # type: ignore[misc]


def _proved_email(email: str) -> str:
    email = email.strip().lower()
    try:
        if email:
            validate_email(email)
    except ValidationError:
        raise InvalidInput(f"{email[:300]!r} is not an e-mail address.", details=[{"field": "email"}]) from None
    return email


def _mail_after_commit(row: Invite, secret: str) -> None:
    """A mail that cannot be sent is logged: the invite stands, and the answer has its link."""
    if row.email:
        transaction.on_commit(lambda: _mail(row, links.to("invite", secret)), robust=True)


def _mail(row: Invite, link: str) -> None:
    told = {"workspace": _one_line(row.workspace.name), "link": link, "invite": row}
    told["by"] = _one_line(row.invited_by.name if row.invited_by else "")
    told["num_days"] = max(1, round((row.expires_at - time.time()) / _DAY_SECONDS))
    subject = _("%(by)s invites you to %(workspace)s") % told
    send_mail(subject[:200], render_to_string("mail/invite.txt", told), None, [row.email])


def _one_line(name: str) -> str:
    return " ".join(name.split())[:100]


def _view(row: Invite, secret: str | None = None) -> InviteView:
    return InviteView(
        id=row.id,
        workspace_id=row.workspace_id,
        role=row.role,  # type: ignore[arg-type]
        email=row.email,
        invited_by=row.invited_by.name if row.invited_by else "",
        created_at=row.created_at,
        expires_at=row.expires_at,
        reminded_at=row.reminded_at,
        link=links.to("invite", secret) if secret else None,
    )
