"""A model's files come from the shared disk or by one download, and are what web said they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import onnx
import pytest

from trainshed.errors import InvalidInput, NotFound, ServerUnreachable, TrainshedError
from trainshed.serving.source import BlobCache, WebSource

from .material import archive_of, colour_network, convolution_network
from .processes import TOKEN, Web, sha256

Open = Callable[..., WebSource]


@pytest.fixture
def source(web: Web, tmp_path: Path) -> Iterator[Open]:
    """Opens sources with one cache folder."""
    with ExitStack() as closing:

        def source(token: str = TOKEN, url: str = "") -> WebSource:
            cache = BlobCache(tmp_path / "cache", budget_bytes=1 << 30)
            opened = WebSource(url or web.url, token, cache)
            closing.callback(opened.close)
            return opened

        yield source


def test_a_model_is_downloaded_once_and_then_read_from_the_cache(web: Web, source: Open) -> None:
    network = colour_network()
    for _ in range(2):
        files = source().fetch("colour")
        assert files.network == network
        assert (files.classes[0].id, files.classes[0].name) == ("id-red", "red")
    assert web.asked[sha256(network)] == 1


def test_where_the_disk_is_shared_nothing_is_downloaded_or_copied(web: Web, tmp_path: Path, source: Open) -> None:
    web.folder = tmp_path / "blobs"
    web.folder.mkdir()
    web.add("shared", archive_of(colour_network()))
    assert source().fetch("shared").network == colour_network()
    assert web.asked == {"shared": 1}
    assert not (tmp_path / "cache").exists()


def test_a_path_that_is_not_on_this_machine_is_downloaded_instead(web: Web, tmp_path: Path, source: Open) -> None:
    web.folder = tmp_path / "blobs"
    web.folder.mkdir()
    web.add("shared", archive_of(colour_network()))
    for blob in web.folder.iterdir():
        blob.unlink()
    assert source().fetch("shared").network == colour_network()


def test_a_corrupt_file_on_the_shared_disk_is_refused_by_name(web: Web, tmp_path: Path, source: Open) -> None:
    web.folder = tmp_path
    web.add("shared", archive_of(colour_network()))
    (tmp_path / sha256(colour_network())).write_bytes(convolution_network())
    with pytest.raises(TrainshedError, match="'model.onnx' is corrupt: its sha256 is .* expected"):
        source().fetch("shared")


def test_a_corrupt_or_overlong_download_is_refused_and_not_kept(web: Web, tmp_path: Path, source: Open) -> None:
    web.blobs[sha256(colour_network())] = colour_network() + bytes(10_000_000)
    with pytest.raises(TrainshedError, match="'model.onnx' is corrupt"):
        source().fetch("colour")
    assert not (tmp_path / "cache").exists()


def test_a_corrupt_cached_file_is_downloaded_again(web: Web, tmp_path: Path, source: Open) -> None:
    network = colour_network()
    source().fetch("colour")
    (tmp_path / "cache" / sha256(network)).write_bytes(b"rotten")
    for _ in range(2):
        assert source().fetch("colour").network == network
    assert web.asked[sha256(network)] == 2


def test_the_cache_keeps_its_budget_and_drops_the_longest_unused(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, budget_bytes=25)
    blobs = [bytes([number]) * 10 for number in range(4)]
    first, second, third, large = (sha256(data) for data in (*blobs[:3], b"x" * 99))
    cache.put(first, blobs[0])
    cache.put(second, blobs[1])
    _age(tmp_path / first, 50)
    _age(tmp_path / second, 100)
    assert cache.get(second) == blobs[1]  # a use makes it young again
    cache.put(third, blobs[2])
    assert [cache.get(each) is not None for each in (first, second, third)] == [False, True, True]
    cache.put(large, b"x" * 99)
    assert cache.get(large) is not None and cache.get(third) is None


def _age(file: Path, seconds: int) -> None:
    then = file.stat().st_mtime - seconds
    os.utime(file, (then, then))


def test_an_unknown_model_is_not_found(source: Open) -> None:
    with pytest.raises(NotFound, match="no model 'nobody'"):
        source().fetch("nobody")


def test_an_archive_whose_network_points_outside_is_refused(web: Web, source: Open) -> None:
    network = onnx.load_from_string(convolution_network())
    network.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    web.add("outside", archive_of(network.SerializeToString()))
    with pytest.raises(InvalidInput, match="in another file"):
        source().fetch("outside")


@pytest.mark.parametrize("model_id", ["../jobs", "a?b=c", "", "a" * 100, "é"])
def test_an_id_that_is_none_is_not_asked_of_web(web: Web, model_id: str, source: Open) -> None:
    with pytest.raises(NotFound):
        source().fetch(model_id)
    assert not web.asked


def test_a_refused_service_token_is_not_told_as_the_askers_fault(source: Open) -> None:
    with pytest.raises(TrainshedError, match="model server's own token") as refusal:
        source(token="stolen").fetch("colour")
    assert refusal.value.status == 500


def test_a_web_that_is_down_is_unreachable(source: Open) -> None:
    with pytest.raises(ServerUnreachable, match="http://127.0.0.1:9 does not answer"):
        source(url="http://127.0.0.1:9").fetch("colour")


def test_an_archive_without_a_network_cannot_answer(web: Web, source: Open) -> None:
    archive = archive_of(colour_network())
    del archive["model.onnx"]
    web.add("empty", archive)
    with pytest.raises(NotFound, match="'empty' has no model.onnx"):
        source().fetch("empty")


@pytest.mark.parametrize(
    ("name", "content"),
    [("classes.json", b"{}"), ("transform.json", b'{"size": "large"}'), ("transform.json", b"\xff")],
)
def test_an_archive_with_a_file_that_makes_no_sense_is_refused(
    web: Web, name: str, content: bytes, source: Open
) -> None:
    web.add("odd", archive_of(colour_network()) | {name: content})
    with pytest.raises(InvalidInput, match="classes.json or transform.json"):
        source().fetch("odd")
