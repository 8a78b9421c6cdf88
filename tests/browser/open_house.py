"""A service where everybody may make an account, with two providers and one application that asks it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from journeys import service
from journeys.service import Service
from testing.second_application import SecondApplication
from trainshed.testing.codes import Client
from trainshed.testing.fake_dropbox import DropboxAccount, FakeDropbox
from trainshed.testing.hostile_oidc import Account, HostileOidc

MIRA = Account("mira-1", "mira@uni.example", "Mira Müller")
UNPROVED = Account("nobody-1", "claimed@uni.example", "Nemo", email_verified=False)
DORA = DropboxAccount(email="dora@drop.example", name="Dora Drop")


@dataclass(frozen=True)
class OpenHouse:
    """The service and those around it."""

    running: Service
    university: HostileOidc
    dropbox: FakeDropbox
    application: SecondApplication
    unproved: Account = UNPROVED


@contextlib.contextmanager
def opened() -> Iterator[OpenHouse]:
    """Its owner is the one that every `Service` has."""
    ours = Client("trainshed", "the secret of Trainshed")
    with HostileOidc(ours, MIRA, asks=True) as university, FakeDropbox(ours, DORA) as dropbox:
        provider = {"id": "uni", "name": "University", "issuer": university.issuer}
        provider |= {"client_id": ours.id, "client_secret": ours.secret}
        with SecondApplication() as application:
            settings = {
                "TRAINSHED_SIGN_UP": "open",
                "TRAINSHED_OIDC_PROVIDERS": json.dumps([provider]),
                "TRAINSHED_DROPBOX_CLIENT_ID": ours.id,
                "TRAINSHED_DROPBOX_CLIENT_SECRET": ours.secret,
                "TRAINSHED_DROPBOX_URL": f"{dropbox.url}/{{host}}",
                "TRAINSHED_OIDC_CLIENTS": json.dumps([application.said]),
                # The doubles are on this machine, whatever proxy leads out of it.
                "NO_PROXY": "127.0.0.1",
                "no_proxy": "127.0.0.1",
            }
            with service.running(**settings) as running:
                application.issuer = running.url
                yield OpenHouse(running, university, dropbox, application)
