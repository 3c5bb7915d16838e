"""What programs are told whose call is not of the right form: a line, with the field and what it takes."""

import pytest

testing = pytest.importorskip("fastapi.testclient", reason="the page needs gradio: pip install .[app]")
from fastapi import FastAPI  # noqa: E402

from sclip_seg.show.app.rest import ANSWERS, serve_programs  # noqa: E402

BOUNDARY = {"Content-Type": "multipart/form-data; boundary=b"}
PICTURE = {"picture": ("dog.png", b"no picture")}
WORDS = {"words": "dog, grass"}


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """`ask(method, path, ...)` of the service without its models, which none of these calls comes to."""
    app = FastAPI()
    serve_programs(app, None, tmp_path_factory.mktemp("uploads"), "toy")
    with testing.TestClient(app) as client:
        yield client.request


@pytest.mark.parametrize(
    ("sent", "status", "told"),
    [
        (dict(data=WORDS), 422, "'picture' is missing: a file"),
        (dict(files=PICTURE), 422, "'words' is missing: commas between classes"),
        (dict(data={"words": ""}, files=PICTURE), 422, "'words' is missing"),
        (dict(data={**WORDS, "picture": "dog.png"}, files={"background": (None, "a")}), 422, "'picture' is 'dog.png'"),
        (dict(files={**PICTURE, "words": ("words.txt", b"dog")}), 422, "'words' is a file, and takes commas"),
        (dict(data={**WORDS, "threshold": "half\n"}, files=PICTURE), 422, r"'threshold' is 'half\n', and takes 0 to 1"),
        (dict(data={**WORDS, "threshold": "1.5"}, files=PICTURE), 422, "'threshold' is '1.5'"),
        (dict(data={**WORDS, "threshold": "nan"}, files=PICTURE), 422, "'threshold' is 'nan'"),
        (dict(data={**WORDS, "backgroud": "sky"}, files=PICTURE), 400, "no field 'backgroud'; did you mean background"),
        (dict(data={"words": ["dog", "cat"]}, files=PICTURE), 400, "'words' comes 2 times"),
        (dict(json=WORDS), 415, "not application/json"),
        (dict(content=b"words=dog"), 415, "not nothing"),
        (dict(), 415, "not nothing"),
        (dict(content=b"words", headers={"Content-Type": "multipart/form-data"}), 400, "form cannot be read: Missing"),
        (dict(content=b"--c\r\n\r\nwords", headers=BOUNDARY), 400, "form cannot be read"),
        (dict(content=b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", headers=BOUNDARY), 400, '"name"'),
        (dict(data={"words": "x" * (1 << 21)}, files=PICTURE), 400, "maximum size"),
        (dict(data={**WORDS, "method": "sclp"}, files=PICTURE), 400, "no method 'sclp'; did you mean"),
        (dict(data=WORDS, files=PICTURE), 400, "dog.png cannot be read as a picture"),
    ],
)
def test_a_call_of_the_wrong_form(ask, sent, status, told):
    answer = ask("POST", "/api/labels", **sent)
    assert answer.json().keys() == {"error"}
    line = answer.json()["error"]
    assert (answer.status_code, told in line, len(line.splitlines()), len(line) < 300) == (status, True, 1, True), line


@pytest.mark.parametrize(("path", "status"), [*((name, 405) for name in ANSWERS), ("label", 404), ("a/b", 404)])
def test_a_call_that_is_only_read(ask, path, status):
    answer = ask("GET", f"/api/{path}")
    assert answer.status_code == status
    assert "curl -F picture=@" in answer.json()["error"]
