"""The addresses of the pages: workspace and project stand in each one that belongs to them."""

from django.urls import include, path

from trainshed.server.web import datasets, home, hosts, jobs, models, people, trainings

in_project = [
    path("", home.project, name="project"),
    path("/datasets", datasets.overview, name="datasets"),
    path("/datasets/<str:dataset_id>", datasets.show, name="dataset"),
    path("/jobs", jobs.overview, name="jobs"),
    path("/jobs/<str:job_id>", jobs.show, name="job"),
    path("/train", trainings.train, name="train"),
    path("/models", models.overview, name="models"),
    path("/models/<str:model_id>", models.show, name="model"),
]

urlpatterns = [
    path("", home.front, name="front"),
    path("setup", people.set_up, name="set-up"),
    path("sign-in", people.sign_in, name="sign-in"),
    path("sign-out", people.sign_out, name="sign-out"),
    path("settings", people.settings, name="settings"),
    path("settings/tokens/<str:token_id>/revoke", people.revoke_token, name="revoke-token"),
    path("hosts", hosts.overview, name="hosts"),
    path("w/<str:workspace_id>", home.show, name="home"),
    path("w/<str:workspace_id>/p/<str:project_id>", include(in_project)),
]
