"""The addresses of the pages: workspace and project stand in each one that belongs to them."""

from django.urls import include, path

from trainshed.server.web import (
    accounts,
    datasets,
    home,
    hosts,
    installation,
    jobs,
    members,
    models,
    people,
    projects,
    shares,
    trainings,
    workspaces,
)

in_project = [
    path("", home.project, name="project"),
    path("/datasets", datasets.overview, name="datasets"),
    path("/datasets/<str:dataset_id>", datasets.show, name="dataset"),
    path("/jobs", jobs.overview, name="jobs"),
    path("/jobs/<str:job_id>", jobs.show, name="job"),
    path("/train", trainings.train, name="train"),
    path("/models", models.overview, name="models"),
    path("/models/<str:model_id>", models.show, name="model"),
    path("/share/<str:noun>/<str:thing_id>", shares.sharing, name="sharing"),
    path("/move/<str:noun>/<str:thing_id>", projects.move, name="move"),
    path("/delete", projects.delete, name="delete-project"),
]

in_workspace = [
    path("", home.show, name="home"),
    path("/settings", workspaces.general, name="workspace"),
    path("/settings/members", members.overview, name="members"),
    path("/settings/robots", workspaces.robots, name="robots"),
    path("/settings/robots/<str:token_id>/revoke", workspaces.revoke_robot, name="revoke-robot"),
    path("/settings/usage", workspaces.use, name="usage"),
    path("/settings/audit", workspaces.acts, name="audit"),
    path("/settings/hand-over", workspaces.hand_over, name="hand-over"),
    path("/settings/delete", workspaces.delete, name="delete-workspace"),
    path("/p/<str:project_id>", include(in_project)),
]

urlpatterns = [
    path("", home.front, name="front"),
    path("setup", people.set_up, name="set-up"),
    path("sign-in/terminal", people.let_in, name="let-in"),
    path("settings", people.profile, name="settings"),
    path("settings/delete", people.delete_account, name="delete-account"),
    path("settings/sign-in", people.sign_in_settings, name="sign-in-settings"),
    path("settings/sessions", people.sessions_settings, name="sessions"),
    path("settings/tokens", people.tokens_settings, name="tokens"),
    path("settings/tokens/<str:token_id>/revoke", people.revoke_token, name="revoke-token"),
    path("hosts", hosts.overview, name="hosts"),
    path("", include(accounts)),
    path("installation", installation.overview, name="installation"),
    path("first-steps", installation.put_steps_away, name="first-steps"),
    path("invite/<str:secret>", members.invite, name="invite"),
    path("share/<str:secret>", shares.share, name="share"),
    path("workspaces/new", workspaces.new, name="new-workspace"),
    path("w/<str:workspace_id>", include(in_workspace)),
]
