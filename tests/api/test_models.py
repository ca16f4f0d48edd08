"""`/v1/models` and the OpenAPI document say what each model takes, by the schemas that requests are validated with."""

from typing import Any, Final

import jsonschema_rs
import pytest

from config.settings import Settings
from producer.api.application import make_app
from producer.models.catalogue import MODELS
from tests.api.conftest import Api

DOCUMENT: Final[dict[str, Any]] = make_app(Settings(_env_file=None)).openapi()


def test_every_model_is_listed_with_its_parameters(api: Api) -> None:
    """In OpenAI's shape, so that its clients can list them."""
    answer = api.get("/v1/models")

    assert answer.status_code == 200
    listed = answer.json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == list(MODELS)
    assert {(model["object"], model["owned_by"]) for model in listed["data"]} == {("model", "google")}
    assert all(model["parameters"]["required"] for model in listed["data"])


@pytest.mark.parametrize("path", ["google/veo3", "google%2Fveo3"])
def test_a_model_is_got_by_its_name_with_the_slash(api: Api, path: str) -> None:
    """Some clients escape it."""
    model = api.get(f"/v1/models/{path}").json()

    assert model["id"] == "google/veo3"
    assert model["parameters"]["required"] == ["prompt"]
    assert model["parameters"]["properties"]["duration"] == {
        "type": "integer",
        "enum": [4, 6, 8],
        "default": 8,
        "description": "The length in seconds.",
        "examples": [8],
    }


def test_a_model_that_is_not_known_is_not_found(api: Api) -> None:
    """And the caller learns that it may be used all the same."""
    answer = api.get("/v1/models/kling-video/v2")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "can be used all the same" in answer.json()["detail"]


def test_what_a_schema_allows_is_accepted_and_what_it_forbids_refused(api: Api) -> None:
    """A program that fills in a form by the schema is not surprised."""
    schema = api.get("/v1/models/google/veo3").json()["parameters"]
    for parameters in (
        {"prompt": "a boat", "duration": 4, "aspect_ratio": "9:16", "seed": 7, "generate_audio": False},
        {"prompt": "a boat", "duration": 5},
        {"prompt": "a boat", "resolution": "720p"},
        {"prompt": "a boat", "seed": None},
        {"prompt": " "},
        {"duration": 4},
        {"prompt": "a boat", "colour": "red"},
    ):
        allowed = jsonschema_rs.is_valid(schema, parameters)
        accepted = api.post("/v1/videos", {"model": "google/veo3", **parameters}).status_code == 202
        assert allowed == accepted, parameters


def test_the_openapi_document_has_the_parameters_of_every_model() -> None:
    """A create request names the schema of each known model, and lists the parameters of all of them."""
    schemas = DOCUMENT["components"]["schemas"]
    order = schemas["CreateVideo"]

    for model, family in MODELS.items():
        assert order["x-parameters"][model] == {"$ref": f"#/components/schemas/{family.__name__}"}
        assert order["properties"].keys() >= schemas[family.__name__]["properties"].keys()
    assert schemas["Veo3"]["properties"]["duration"]["enum"] == [4, 6, 8]
    assert order["properties"]["seed"]["type"] == "integer"
