"""The OpenAPI document and its page: complete, consistent, and without a host but ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from server.api_client import API, ok

_METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(nobody) -> dict[str, Any]:
    found: dict[str, Any] = ok(nobody.get("/openapi.json"))
    return found


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for entry in value.values():
            yield from _nodes(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _nodes(entry)


def test_the_document_is_openapi_3_1(document):
    from trainshed import __version__

    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "Trainshed" and document["info"]["version"] == __version__
    assert set(document) <= {"openapi", "info", "servers", "paths", "components", "security", "tags"}
    assert all(path.startswith(f"{API}/") for path in document["paths"])
    assert {method for _, method, _ in _operations(document)} <= _METHODS


def test_every_operation_has_a_name_a_summary_a_tag_and_an_answer(document):
    names = [operation["operationId"] for _, _, operation in _operations(document)]
    assert len(set(names)) == len(names)
    for path, method, operation in _operations(document):
        where = f"{method} {path}"
        assert operation["summary"] and operation["tags"], where
        good = [status for status in operation["responses"] if str(status).startswith("2")]
        assert len(good) == 1, where
        if good != ["204"]:
            assert operation["responses"][good[0]]["content"], where


def test_every_operation_documents_its_errors_as_problem_documents(document):
    for path, method, operation in _operations(document):
        errors = {status: answer for status, answer in operation["responses"].items() if not status.startswith("2")}
        named = {"401", "403", "404", "409", "413", "422", "429", "500", "503", "507"}
        assert errors and ("default" in errors or set(errors) == named), f"{method} {path}"
        for answer in errors.values():
            assert answer["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }, f"{method} {path}"


def test_every_reference_leads_somewhere(document):
    references = {node["$ref"] for node in _nodes(document) if isinstance(node.get("$ref"), str)}
    assert references
    for reference in references:
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in found, reference
            found = found[part]
    assert not any("$defs" in node for node in _nodes(document))


def test_every_parameter_of_a_path_is_described(document):
    for path, method, operation in _operations(document):
        inside = set(re.findall(r"{(\w+)}", path))
        described = {entry["name"] for entry in operation.get("parameters", []) if entry["in"] == "path"}
        assert inside == described, f"{method} {path}"
        assert all(entry["required"] for entry in operation.get("parameters", []) if entry["in"] == "path")


def test_every_operation_says_whether_it_needs_a_token(document):
    (scheme,) = document["components"]["securitySchemes"]
    assert document["components"]["securitySchemes"][scheme] == {"type": "http", "scheme": "bearer"}
    open_ones = {path for path, _, operation in _operations(document) if not operation.get("security")}
    assert open_ones == {f"{API}/setup", f"{API}/sign-in", f"{API}/login-codes", f"{API}/health"}
    assert all(
        operation["security"] == [{scheme: []}] for path, _, operation in _operations(document) if path not in open_ones
    )


def test_every_submit_takes_an_idempotency_key(document):
    for path, method, operation in _operations(document):
        headers = {entry["name"] for entry in operation.get("parameters", []) if entry["in"] == "header"}
        is_submit = "202" in operation["responses"]
        assert ("Idempotency-Key" in headers) == is_submit, f"{method} {path}"


def test_every_field_of_a_recipe_is_explained(document):
    for name in ("ClassificationRecipe", "Augmentation", "SplitPlan"):
        fields = document["components"]["schemas"][name]["properties"]
        silent = [field for field, said in fields.items() if "description" not in said]
        assert set(silent) <= {"schema_version", "task"}, name


def test_no_field_of_an_answer_can_hold_a_password_or_a_hash_of_a_token(document):
    for name, schema in document["components"]["schemas"].items():
        for field in schema.get("properties", {}):
            is_asked = name in ("SetUp", "SignIn")
            assert is_asked or field not in ("password", "token_sha256", "key_sha256"), f"{name}.{field}"


def test_the_page_and_everything_that_it_loads_come_from_here(nobody):
    page = nobody.get("/docs")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    links = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
    assert any(link.endswith(".js") for link in links) and any(link.endswith(".css") for link in links)
    for link in links:
        assert link.startswith("/") and not link.startswith("//"), link
        answer = nobody.http.get(link)
        assert answer.status_code == 200 and answer.content, link
    assert not re.findall(r"""["'](?:https?:)?//[^"']+""", page.text)
    assert f"{API}/openapi.json" in page.text
