"""The SDK as a program uses it, against a server on a socket."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from trainshed import Client
from trainshed.errors import Conflict, InvalidInput, NotFound, NotSignedIn, ServerUnreachable, TrainshedError
from trainshed.schemas import HostReading, Recipe, SplitPlan
from trainshed.testing.fake_server import CODE, EMAIL, PASSWORD, PROJECT, SHELF, WORKSPACE, FakeServer, Fault


def test_the_main_line_from_a_folder_to_an_answer(client: Client, pictures: Path, tmp_path: Path) -> None:
    arrived = client.datasets.import_folder(pictures)
    report = client.jobs.wait(arrived.job, must_succeed=True).result or {}
    job = client.train("flowers", Recipe(epochs=1), name="my flowers")
    ended = client.jobs.watch(job, lambda event: None)
    prediction = client.models.predict("my flowers", pictures / "rose" / "0.png")
    saved = client.models.download("my flowers", tmp_path)

    assert (report["num_taken"], report["num_skipped"]) == (6, 1)
    assert ended.state == "succeeded"
    assert prediction.model_id == (ended.result or {})["model_id"]
    assert [score.label for score in prediction.predictions] == ["rose", "tulip"]
    assert saved == tmp_path / "my-flowers.zip"
    assert zipfile.ZipFile(saved).namelist() == ["card.md"]


def test_setting_up_signs_in(server: FakeServer) -> None:
    server.is_set_up = False
    with Client(server.url) as client:
        with pytest.raises(NotSignedIn):
            client.me()
        assert client.setup(CODE, "Ada", EMAIL, PASSWORD).token == server.token
        assert client.me().name == "Ada"
        with pytest.raises(Conflict, match="already"):
            client.setup(CODE, "Eve", "eve@example.org", PASSWORD)


def test_a_password_becomes_a_token_named_after_this_machine(server: FakeServer) -> None:
    with Client(server.url) as client:
        with pytest.raises(NotSignedIn, match="wrong"):
            client.sign_in(EMAIL, "guess")
        client.sign_in(EMAIL, PASSWORD)
        assert client.me().email == EMAIL
    assert server.asked_for("POST", "/sign-in")[-1].json()["token_name"].startswith("SDK on ")


def test_who_am_i_is_asked_once(server: FakeServer, client: Client) -> None:
    client.me()
    list(client.datasets.list())
    list(client.jobs.list())

    assert len(server.asked_for("GET", "/me")) == 1


def test_work_goes_to_the_first_own_workspace_and_not_to_the_shelf(server: FakeServer, client: Client) -> None:
    client.datasets.create("flowers")

    [asked] = server.asked_for("POST", "/datasets")
    assert f"/workspaces/{WORKSPACE}/projects/{PROJECT}/" in asked.path


def test_a_workspace_and_a_project_can_be_named(server: FakeServer) -> None:
    with Client(server.url, server.token, workspace="My work", project="My project") as client:
        assert list(client.datasets.list()) == []
    with (
        Client(server.url, server.token, workspace="Shelf") as client,
        pytest.raises(NotFound, match="no workspace"),
    ):
        client.datasets.create("x")
    with (
        Client(server.url, server.token, project="Other") as client,
        pytest.raises(NotFound, match="no project"),
    ):
        client.datasets.create("x")


def test_lists_go_on_over_all_pages(pictures: Path) -> None:
    with FakeServer(page_size=2) as server, Client(server.url, server.token) as client:
        names = [f"dataset {number}" for number in range(5)]
        for name in names:
            client.datasets.create(name)

        assert [dataset.name for dataset in client.datasets.list()] == names[::-1]
        assert len(server.asked_for("GET", "/datasets")) == 3
        dataset = client.datasets.import_folder(pictures).dataset
        assert len(list(client.datasets.images(dataset))) == 6
        assert len(list(client.datasets.images(dataset, class_id="class-rose"))) == 3


def test_a_page_is_fetched_only_when_it_is_reached(client: Client, server: FakeServer) -> None:
    server.page_size = 1
    client.datasets.create("one")
    client.datasets.create("two")
    asked_before = len(server.asked_for("GET", "/datasets"))

    assert next(client.datasets.list()).name == "two"
    assert len(server.asked_for("GET", "/datasets")) == asked_before + 1


def test_importing_again_adds_to_the_dataset_of_that_name(client: Client, pictures: Path) -> None:
    first = client.datasets.import_folder(pictures, "garden")
    (pictures / "lily").mkdir()
    (pictures / "lily" / "0.png").write_bytes(b"\x89PNG")
    second = client.datasets.import_folder(pictures, "garden")

    assert second.dataset.id == first.dataset.id
    assert {it["name"] for it in client.datasets.get(first.dataset).classes} == {"rose", "tulip", "lily"}


def test_an_import_that_cannot_be_sent_leaves_no_dataset(server: FakeServer, client: Client, pictures: Path) -> None:
    client.me()
    server.faults = [Fault(507)]

    with pytest.raises(TrainshedError):
        client.datasets.import_folder(pictures)
    assert server.datasets == {}


def test_an_upload_that_breaks_off_is_sent_again_whole(server: FakeServer, client: Client, pictures: Path) -> None:
    client.me()
    server.faults = [Fault(), Fault(503)]

    assert client.jobs.wait(client.datasets.import_folder(pictures).job).state == "succeeded"
    assert len({asked.body for asked in server.asked_for("POST", "/uploads")}) == 1


def test_the_upload_is_named_after_the_folder(server: FakeServer, client: Client, pictures: Path) -> None:
    client.datasets.import_folder(pictures, "garden")

    [(upload, _)] = server.uploads.values()
    assert upload.name == "flowers.zip"


def test_left_out_files_are_told(client: Client, pictures: Path) -> None:
    (pictures / "rose" / "link.png").symlink_to("0.png")

    [file] = client.datasets.import_folder(pictures).left_out
    assert (file.name, file.code) == ("rose/link.png", "link")


def test_a_submit_whose_answer_is_lost_makes_one_job(server: FakeServer, client: Client, pictures: Path) -> None:
    dataset = client.datasets.import_folder(pictures).dataset
    version = client.versions.current(client.datasets.get(dataset))
    num_jobs = len(server.jobs)
    server.faults = [Fault(after_work=True), Fault(after_work=True)]

    job = client.train(version)

    assert len(server.asked_for("POST", "/trainings")) == 3
    assert len(server.jobs) == num_jobs + 1
    assert job.id in server.jobs


def test_two_submits_are_two_jobs(client: Client, pictures: Path) -> None:
    dataset = client.datasets.import_folder(pictures).dataset

    assert client.train(dataset).id != client.train(dataset).id


def test_a_training_makes_a_version_only_when_the_dataset_has_changed(
    server: FakeServer, client: Client, pictures: Path
) -> None:
    dataset = client.datasets.import_folder(pictures).dataset
    first = client.train(dataset).spec["version_id"]
    again = client.train(dataset.id).spec["version_id"]
    (pictures / "rose" / "new.png").write_bytes(b"\x89PNG")
    client.datasets.import_folder(pictures)
    changed = client.train("flowers").spec["version_id"]
    other_split = client.train("flowers", split=SplitPlan(seed=7)).spec["version_id"]
    named = client.train(first).spec["version_id"]

    assert first == again == named
    assert len({first, changed, other_split}) == 3
    assert server.versions[other_split].split["seed"] == 7


def test_a_snapshot_that_fails_raises_its_reason(client: Client) -> None:
    dataset = client.datasets.create("empty")

    with pytest.raises(InvalidInput, match="0 pictures; at least 2 are needed"):
        client.train(dataset)


def test_versions_are_listed_and_fetched(client: Client, pictures: Path) -> None:
    dataset = client.datasets.import_folder(pictures).dataset
    job = client.jobs.wait(client.versions.create(dataset, SplitPlan(test=0.5)))
    made = client.versions.made_by(job, dataset)

    assert made.split["test"] == 0.5
    assert client.versions.get(made.id) == made
    assert [version.number for version in client.datasets.versions(dataset)] == [1]
    with pytest.raises(NotFound, match="made no version"):
        client.versions.made_by(job.model_copy(update={"id": "other"}), dataset)


def test_datasets_are_renamed_and_deleted(client: Client) -> None:
    dataset = client.datasets.create("old")

    assert client.datasets.rename(dataset, "new").name == "new"
    assert client.datasets.find("ne").id == dataset.id
    client.datasets.delete(dataset)
    with pytest.raises(NotFound):
        client.datasets.get(dataset.id)


def test_an_id_with_odd_characters_stays_one_segment(server: FakeServer, client: Client) -> None:
    with pytest.raises(NotFound):
        client.datasets.get("../../../hosts")
    assert server.asked[-1].path.endswith("/datasets/..%2F..%2F..%2Fhosts")


def test_own_models_go_before_the_shelf(server: FakeServer, client: Client, pictures: Path) -> None:
    job = client.train(client.datasets.import_folder(pictures).dataset, name="ImageNet")
    own = (client.jobs.wait(job).result or {})["model_id"]

    assert client.models.find("ImageNet").id == own
    assert client.models.get("pretrained0").workspace_id == SHELF
    assert [model.name for model in client.models.shelf()] == ["ImageNet"]
    assert client.models.predict("pretrained0", b"\x89PNG", top=1).predictions[0].label == "tabby"
    with pytest.raises(NotFound, match="in this project or on the shelf"):
        client.models.get("nothing")


def test_a_prediction_is_asked_again_after_503(server: FakeServer, client: Client) -> None:
    model = client.models.find("ImageNet")
    server.faults = [Fault(503, {"Retry-After": "0"})]

    assert client.models.predict(model, b"\x89PNG").milliseconds == 1.5


def test_a_picture_that_is_none_is_refused_by_whoever_notices(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nothing\.png' cannot be read: No such file"):
        client.models.predict("ImageNet", tmp_path / "nothing.png")
    with pytest.raises(InvalidInput, match="not a picture"):
        client.models.predict("ImageNet", b"text")


def test_models_are_renamed_and_deleted(client: Client, pictures: Path) -> None:
    client.jobs.wait(client.train(client.datasets.import_folder(pictures).dataset, name="a"))

    assert client.models.rename("a", "b / c").name == "b / c"
    assert client.models.download("b / c", pictures).name == "b-c.zip"
    client.models.delete("b / c")
    assert list(client.models.list()) == []


def test_a_download_that_breaks_off_leaves_nothing(server: FakeServer, client: Client, tmp_path: Path) -> None:
    model = client.models.find("ImageNet")
    server.faults = [Fault(200, {"Content-Length": "1000"}, body=b"PK")]

    with pytest.raises(ServerUnreachable):
        client.models.download(model, tmp_path / "model.zip")
    assert not list(tmp_path.glob("*.zip")) + list(tmp_path.glob(".*"))


def test_a_download_replaces_a_file_and_tells_its_progress(client: Client, tmp_path: Path) -> None:
    target = tmp_path / "model.zip"
    target.write_text("old")
    told: list[tuple[str, int, int]] = []

    client.models.download("ImageNet", target, lambda *step: told.append(step))

    assert zipfile.is_zipfile(target)
    assert told[-1] == ("download", target.stat().st_size, 0)
    with pytest.raises(InvalidInput, match="cannot be written"):
        client.models.download("ImageNet", tmp_path / "no" / "such" / "folder.zip")


def test_tokens_are_made_listed_and_revoked(client: Client) -> None:
    made = client.tokens.create("nightly", ["read"], expires_in_days=None)

    assert made.token
    assert made.scopes == ["read"]
    assert [token.token for token in client.tokens.list()] == [None, None]
    client.tokens.revoke(made)
    assert made.id not in {token.id for token in client.tokens.list()}


def test_a_reading_reaches_the_list_of_hosts(client: Client) -> None:
    client.hosts.report(HostReading(hostname="shed", cpu_count=2))

    [host] = client.hosts.list()
    assert host.reading is not None
    assert (host.name, host.reading.cpu_count) == ("shed", 2)


def test_a_reading_is_never_sent_twice(server: FakeServer, client: Client) -> None:
    server.faults = [Fault(503)]

    with pytest.raises(TrainshedError):
        client.hosts.report(HostReading(hostname="shed", cpu_count=2))
    assert len(server.asked) == 1


def test_an_answer_that_is_no_view_is_told_with_its_source(server: FakeServer, client: Client) -> None:
    server.faults = [Fault(200, body=b"<html>hello</html>")]

    with pytest.raises(TrainshedError, match="answer from /api/v1/me is not a Me") as caught:
        client.me()
    assert "Trainshed server" in caught.value.hint


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, trainshed\n"
        "assert not {'httpx', 'pydantic', 'rich', 'django', 'torch'} & set(sys.modules)\n"
        "from trainshed import Client\n"
        "assert not {'django', 'torch', 'pynvml', 'psutil', 'typer', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import trainshed.client

    with pytest.raises(AttributeError, match="nothing"):
        trainshed.client.nothing  # noqa: B018
