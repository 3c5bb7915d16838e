"""What a call of the page's service brings, by name, and what is said of one that is not of the right form."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from ...choices import CONFIGS, choices
from ...errors import InputError, near
from .examples import LISTS
from .session import WEIGHT

METHOD = "sclip"
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
EXAMPLE = 'curl -F picture=@dog.jpg --form-string words="dog; puppy, grass"'
ANSWERS = {
    "classes": "JSON: each class's name, share of the picture and mean score",
    "labels": "PNG: the number of each pixel's class, from 0 in the order of the words, the background first",
    "overlay": "PNG: the picture under its classes' colours, over a legend",
    "scores": "npz: labels (H, W), scores (K, H, W), classes",
    "words": "JSON: words that the picture is made of, found among a list, with their shares and how sure that is",
    "remember": "safetensors: the memory with a region of the picture more, under a name",
}
FIELDS = {
    "picture": "a file",
    "words": "commas between classes, semicolons between synonyms",
    "background": "words of one class more; may be left out",
    "threshold": "0 to 1: pixels whose word scores lower are no class's; 0 if left out",
    "method": f"{METHOD} if left out",
    "backbone": "the one that the page opens with if left out",
    "memory": "a file that remember gave, or sclip-seg remember wrote; may be left out",
    "weight": f"0 to 1: of the memory beside the words; {WEIGHT} if left out",
    "among": f"of words: {', '.join(LISTS)}; the one that fits the backbone if left out",
    "name": "of remember: what the region is",
    "box": "of remember: top, left, bottom, right in the picture's pixels",
    "point": "of remember, with words: y, x in the region of the result that is meant",
}
MISTAKES = (RequestValidationError, HTTPException, InputError)


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
    shown = "a file" if isinstance(given, UploadFile) else repr(str(given)[:60])
    return failure(422, f"the field {name!r} is {shown}, and takes {FIELDS[name]}")


def failure(status: int, line: str) -> JSONResponse:
    """What went wrong, in a line."""
    return JSONResponse({"error": line}, status)
