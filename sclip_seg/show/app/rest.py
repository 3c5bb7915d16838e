"""The page's service for programs: a picture and words in, results out, by name.

    curl http://127.0.0.1:7860/api
    curl -F picture=@dog.jpg --form-string words="dog; puppy, grass" http://127.0.0.1:7860/api/classes
    curl -F picture=@dog.jpg --form-string words="dog, grass" http://127.0.0.1:7860/api/labels -o labels.png

Each call waits for its turn with those of the page. A mistake is answered with a status from 400 on and
`{"error": "a line"}`.
"""

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile as Uploaded
from starlette.exceptions import HTTPException

from ...choices import CONFIGS, choices
from ...errors import InputError, near
from .downloads import overlay_file
from .found import Found, score_file
from .session import Picture, Session, Wish, open_picture, told_of

WAITING = 16  # calls in line; further ones are told so
METHOD = "sclip"
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
EXAMPLE = 'curl -F picture=@dog.jpg --form-string words="dog; puppy, grass"'
ANSWERS = {
    "classes": "JSON: each class's name, share of the picture and mean score",
    "labels": "PNG: the number of each pixel's class, from 0 in the order of the words, the background first",
    "overlay": "PNG: the picture under its classes' colours, over a legend",
    "scores": "npz: labels (H, W), scores (K, H, W), classes",
}
FIELDS = {
    "picture": "a file",
    "words": "commas between classes, semicolons between synonyms",
    "background": "words of one class more; may be left out",
    "threshold": "0 to 1: pixels whose word scores lower are no class's; 0 if left out",
    "method": f"{METHOD} if left out",
    "backbone": "the one that the page opens with if left out",
}


def serve_programs(app: FastAPI, session: Session, folder: Path, chosen: str) -> None:
    """Gives an application the calls of `routes`; what is wrong with the form of one is answered like all else."""
    app.include_router(routes(session, folder, chosen))
    for mistake in (RequestValidationError, HTTPException, InputError):
        app.add_exception_handler(mistake, answer_mistake)


def routes(session: Session, folder: Path, chosen: str) -> APIRouter:
    """The calls, by the `chosen` backbone unless they name one; pictures lie in `folder` while they are read."""
    router, line = APIRouter(), threading.BoundedSemaphore(WAITING)

    @router.get("/api")
    def what_there_is() -> dict:
        """Names of everything that can be asked for."""
        have = choices(CONFIGS)
        calls = {f"POST /api/{name}": what for name, what in ANSWERS.items()}
        return {"calls": calls, "fields": FIELDS, "methods": have["method"], "backbones": have["backbone"]}

    def answering(answer: Callable[[Session, Picture, Wish, float], Response]) -> Callable:
        def call(
            picture: Annotated[UploadFile, File()],
            words: Annotated[str, Form()],
            background: Annotated[str, Form()] = "",
            threshold: Annotated[float, Form(ge=0, le=1)] = 0.0,
            method: Annotated[str, Form()] = METHOD,
            backbone: Annotated[str, Form()] = chosen,
        ) -> Response:
            if not line.acquire(blocking=False):
                return failure(503, "too many calls are waiting: try again")
            try:
                check_names(method, backbone)
                wish = Wish(words, background, (method,), backbone)
                return answer(session, _opened(picture, folder), wish, threshold)
            except Exception as error:
                told = told_of(error)
                if told is None:
                    raise
                return failure(400 if isinstance(error, InputError) else 507, told)
            finally:
                line.release()

        return call

    for name, answer in (("classes", classes), ("labels", labels), ("overlay", overlay), ("scores", scores)):
        answered = router.post(f"/api/{name}", response_class=Response, dependencies=[Depends(check_fields)])
        answered(answering(answer))

    @router.get("/api/{name:path}")
    def not_to_be_read(name: str) -> Response:
        return failure(405 if name in ANSWERS else 404, f"there is no page here; calls are sent, as in {EXAMPLE}")

    return router


def classes(session: Session, picture: Picture, wish: Wish, threshold: float) -> Response:
    """Names, shares and mean scores, in the order of the words, and what a user should know."""
    found, notes = _found(session, picture, wish)
    rows = zip(found.classes, found.shares_above(threshold), found.mean_scores, strict=True)
    told = [dict(name=name, share=share, score=score) for name, share, score in rows]
    height, width = found.labels.shape
    return JSONResponse({"classes": told, "height": height, "width": width, "notes": [*picture.notes, *notes]})


def labels(session: Session, picture: Picture, wish: Wish, threshold: float) -> Response:
    """The label map."""
    return Response(_found(session, picture, wish)[0].label_file(threshold), media_type="image/png")


def overlay(session: Session, picture: Picture, wish: Wish, threshold: float) -> Response:
    """The picture under its colours."""
    found, _ = _found(session, picture, wish)
    return Response(overlay_file(picture.pixels, found, threshold), media_type="image/png")


def scores(session: Session, picture: Picture, wish: Wish, threshold: float) -> Response:
    """All scores, whatever the threshold."""
    (prediction,) = session.predictions(picture.pixels, wish).values()
    return Response(score_file(prediction), media_type="application/octet-stream")


def check_names(method: str, backbone: str) -> None:
    """Raises InputError for what is no name of a method or a backbone; a path is none."""
    have = choices(CONFIGS)
    for kind, name in (("method", method), ("backbone", backbone)):
        if name not in have[kind]:
            raise InputError(f"there is no {kind} {name[:60]!r}{near(name[:60], have[kind])}")


async def check_fields(request: Request) -> None:
    """Raises InputError for what would be passed over in silence: a field that no call has, or one of two alike."""
    form = await request.form()
    for name in form:
        if name not in FIELDS:
            raise InputError(f"there is no field {name[:60]!r}{near(name[:60], FIELDS)}")
        if len(form.getlist(name)) > 1:
            raise InputError(f"the field {name!r} comes {len(form.getlist(name))} times: send it once")


def answer_mistake(request: Request, error: Exception) -> Response:
    """A call that is not of the right form: what is wrong, in which field, and what would be right, in a line."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in FORMS:
        return failure(415, f"a call brings a form, and not {kind[:60] or 'nothing'}; send one, as in {EXAMPLE}")
    if isinstance(error, HTTPException):
        return failure(error.status_code, f"the form cannot be read: {error.detail}; send one, as in {EXAMPLE}")
    if isinstance(error, InputError):
        return failure(400, str(error))
    first = error.errors()[0]
    name, given = first["loc"][-1], first["input"]
    if first["type"] == "missing":
        return failure(422, f"the field {name!r} is missing: {FIELDS[name]}; as in {EXAMPLE}")
    shown = "a file" if isinstance(given, Uploaded) else repr(str(given)[:60])
    return failure(422, f"the field {name!r} is {shown}, and takes {FIELDS[name]}")


def failure(status: int, line: str) -> JSONResponse:
    """What went wrong, in a line."""
    return JSONResponse({"error": line}, status)


def _found(session: Session, picture: Picture, wish: Wish) -> tuple[Found, list[str]]:
    found, notes = session.run(picture.pixels, wish)
    return found[0], notes


def _opened(upload: UploadFile, folder: Path) -> Picture:
    suffix = Path(upload.filename or "").suffix
    with tempfile.NamedTemporaryFile(dir=folder, suffix=suffix if suffix[1:].isalnum() else "") as file:
        while part := upload.file.read(1 << 20):
            file.write(part)
        file.flush()
        return open_picture(file.name, Path(upload.filename or "the picture").name)
