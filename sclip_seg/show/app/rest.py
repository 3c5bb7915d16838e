"""The page's service for programs: a picture and words in, results out, by name.

    curl http://127.0.0.1:7860/api
    curl -F picture=@dog.jpg --form-string words="dog; puppy, grass" http://127.0.0.1:7860/api/classes
    curl -F picture=@dog.jpg --form-string words="dog, grass" http://127.0.0.1:7860/api/labels -o labels.png
    curl -F picture=@dog.jpg -F among=benchmarks http://127.0.0.1:7860/api/words
    curl -F picture=@dog.jpg -F name=Rex -F box="40, 30, 200, 180" http://127.0.0.1:7860/api/remember -o rex.safetensors
    curl -F picture=@park.jpg -F words=grass -F memory=@rex.safetensors http://127.0.0.1:7860/api/labels -o labels.png

Each call waits for its turn with those of the page. A mistake is answered with a status from 400 on and
`{"error": "a line"}`. Nothing is kept between calls: a memory is the caller's file, and `remember` gives it back with
a region more. What is blended with one is few-shot, and says so (`memory` in JSON, the header `few-shot` beside files).
"""

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, File, Form, UploadFile
from fastapi.responses import JSONResponse, Response

from ...choices import CONFIGS, choices
from ...errors import InputError
from ...evaluate.remember import mask_of
from ...evaluate.remember_region import brought, region_at
from .downloads import overlay_file
from .examples import list_for
from .forms import ANSWERS, EXAMPLE, FIELDS, METHOD, MISTAKES, answer_mistake, check_fields, check_names, failure
from .found import Found, score_file
from .session import WEIGHT, Picture, Session, Wish, open_picture, told_of

WAITING = 16  # calls in line; further ones are told so
FEW_SHOT = "few-shot"
Upload, Text = Annotated[UploadFile, File()], Annotated[str, Form()]
Optional = Annotated[UploadFile | None, File()]
Share = Annotated[float, Form(ge=0, le=1)]


def serve_programs(app: FastAPI, session: Session, folder: Path, chosen: str) -> None:
    """Gives an application the calls of `routes`; what is wrong with the form of one is answered like all else."""
    app.include_router(routes(session, folder, chosen))
    for mistake in MISTAKES:
        app.add_exception_handler(mistake, answer_mistake)


def routes(session: Session, folder: Path, chosen: str) -> APIRouter:
    """The calls, by the `chosen` backbone unless they name one; pictures lie in `folder` while they are read."""
    router, line = APIRouter(), threading.BoundedSemaphore(WAITING)
    form = dict(response_class=Response, dependencies=[Depends(check_fields)])

    @router.get("/api")
    def what_there_is() -> dict:
        """Names of everything that can be asked for."""
        have = choices(CONFIGS)
        calls = {f"POST /api/{name}": what for name, what in ANSWERS.items()}
        return {"calls": calls, "fields": FIELDS, "methods": have["method"], "backbones": have["backbone"]}

    def told(compute: Callable[[], Response]) -> Response:
        """What it computes, or what went wrong, in a line."""
        if not line.acquire(blocking=False):
            return failure(503, "too many calls are waiting: try again")
        try:
            return compute()
        except Exception as error:
            said = told_of(error)
            if said is None:
                raise
            return failure(400 if isinstance(error, InputError) else 507, said)
        finally:
            line.release()

    def wish_of(
        words: str, background: str, method: str, backbone: str, memory: UploadFile | None, weight: float
    ) -> Wish:
        check_names(method, backbone)
        if memory is None:
            return Wish(words, background, (method,), backbone)
        with _on_disk(memory, folder) as path:
            memories = {method: brought(path, Path(memory.filename or "the memory").name)}
        return Wish(words, background, (method,), backbone, memories, weight)

    def answering(answer: Callable[[Session, Picture, Wish, float], Response]) -> Callable:
        def call(
            picture: Upload,
            words: Text,
            background: Text = "",
            threshold: Share = 0.0,
            method: Text = METHOD,
            backbone: Text = chosen,
            memory: Optional = None,
            weight: Share = WEIGHT,
        ) -> Response:
            def compute() -> Response:
                wish = wish_of(words, background, method, backbone, memory, weight)
                return answer(session, _opened(picture, folder), wish, threshold)

            return told(compute)

        return call

    for name, answer in (("classes", classes), ("labels", labels), ("overlay", overlay), ("scores", scores)):
        router.post(f"/api/{name}", name=name, **form)(answering(answer))

    @router.post("/api/words", **form)
    def words(
        picture: Upload, among: Text = "", background: Text = "", method: Text = METHOD, backbone: Text = chosen
    ) -> Response:
        def compute() -> Response:
            wish = wish_of("", background, method, backbone, None, WEIGHT)
            return found_words(session, _opened(picture, folder), wish, among or list_for(backbone))

        return told(compute)

    @router.post("/api/remember", **form)
    def remember(
        picture: Upload,
        name: Text,
        box: Text = "",
        point: Text = "",
        words: Text = "",
        background: Text = "",
        method: Text = METHOD,
        backbone: Text = chosen,
        memory: Optional = None,
        weight: Share = WEIGHT,
    ) -> Response:
        def compute() -> Response:
            wish = wish_of(words, background, method, backbone, memory, weight)
            return remembered(session, _opened(picture, folder), wish, name, box, point)

        return told(compute)

    @router.get("/api/{name:path}")
    def not_to_be_read(name: str) -> Response:
        return failure(405 if name in ANSWERS else 404, f"there is no page here; calls are sent, as in {EXAMPLE}")

    return router


def classes(session: Session, picture: Picture, wish: Wish, threshold: float) -> Response:
    """Names, shares and mean scores, in the order of the words, and what a user should know."""
    found, notes = _found(session, picture, wish)
    rows = zip(found.classes, found.shares_above(threshold), found.mean_scores, strict=True)
    told = [dict(name=name, share=share, score=score) for name, share, score in rows]
    (height, width), memory = found.labels.shape, found.memory or None
    notes = [*picture.notes, *notes]
    return JSONResponse({"classes": told, "height": height, "width": width, "memory": memory, "notes": notes})


def labels(session: Session, picture: Picture, wish: Wish, threshold: float) -> Response:
    """The label map."""
    found, _ = _found(session, picture, wish)
    return _file(found.label_file(threshold), found.memory, "image/png")


def overlay(session: Session, picture: Picture, wish: Wish, threshold: float) -> Response:
    """The picture under its colours."""
    found, _ = _found(session, picture, wish)
    return _file(overlay_file(picture.pixels, found, threshold), found.memory, "image/png")


def scores(session: Session, picture: Picture, wish: Wish, threshold: float) -> Response:
    """All scores, whatever the threshold."""
    (prediction,) = session.predictions(picture.pixels, wish).values()
    told = "".join(memory.described for memory in wish.memories.values())
    return _file(score_file(prediction, told), told)


def found_words(session: Session, picture: Picture, wish: Wish, among: str) -> Response:
    """The words that the picture is made of."""
    found, notes = session.find_words(picture.pixels, wish, among)
    return JSONResponse({**found.plain(), "notes": [*picture.notes, *notes]})


def remembered(session: Session, picture: Picture, wish: Wish, name: str, box: str, point: str) -> Response:
    """The memory with one region more."""
    if bool(box) == bool(point):
        raise InputError("a region is a box, top, left, bottom, right, or a point, y, x, in a result of words")
    if box:
        top, left, bottom, right = _numbers(box, 4)
        corners = [*picture.at(left, top), *picture.at(right, bottom)]
        mask = mask_of({"what": "the picture", "box": corners}, picture.pixels.shape[:2])
    else:
        y, x = _numbers(point, 2)
        place = picture.at(x, y)
        mask_of({"what": "the picture", "point": list(place)}, picture.pixels.shape[:2])  # refuses what is outside
        mask = region_at(_found(session, picture, wish)[0].labels, place)
    (memory,) = session.remember(picture.pixels, mask, name, wish).values()
    return _file(memory.content, memory.described)


def _found(session: Session, picture: Picture, wish: Wish) -> tuple[Found, list[str]]:
    found, notes = session.run(picture.pixels, wish)
    return found[0], notes


def _file(content: bytes, memory: str, kind: str = "application/octet-stream") -> Response:
    return Response(content, media_type=kind, headers={FEW_SHOT: memory} if memory else {})


def _numbers(text: str, count: int) -> list[float]:
    parts = text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(0 <= number < 1e6 for number in numbers):
        raise InputError(f"{text[:60]!r} is not {count} numbers with commas between, in pixels")
    return numbers


def _opened(upload: UploadFile, folder: Path) -> Picture:
    with _on_disk(upload, folder) as path:
        return open_picture(path, Path(upload.filename or "the picture").name)


@contextmanager
def _on_disk(upload: UploadFile, folder: Path) -> Iterator[Path]:
    """A file of what came, for the time of the block."""
    suffix = Path(upload.filename or "").suffix
    with tempfile.NamedTemporaryFile(dir=folder, suffix=suffix if suffix[1:].isalnum() else "") as file:
        while part := upload.file.read(1 << 20):
            file.write(part)
        file.flush()
        yield Path(file.name)
