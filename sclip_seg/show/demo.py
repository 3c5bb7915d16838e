"""The work of `sclip-seg demo`: pictures of one's own are found, read, segmented and written."""

import argparse
import json
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from glob import glob
from io import BytesIO
from itertools import islice
from pathlib import Path
from unicodedata import normalize

import numpy as np
from PIL import Image

from ..bars import Bar, notice
from ..command import BAD_INPUT, message_of
from ..config import WORDS as WITHOUT_DATASET
from ..data.loading import read_picture
from ..data.pictures import SUFFIXES
from ..drawing import percent
from ..errors import InputError
from ..evaluate.remembered import with_memory, wordless
from ..files import as_png, write_atomically
from ..handed_in import at_home, existing
from ..picture.finding.finder import AUTO, AutoWords
from ..words.auto_options import auto_settings
from ..words.read import read_words
from .predictor import Prediction, Predictor, load

OVERLAY, LABELS, SCORES = ".overlay.png", ".labels.png", ".npz"
WORDS = "words.json"
LOOKED_AT = 100  # pictures, in which words for all of them are found
TEXT_BANK = "work_dirs/text_bank"  # where `sclip-seg test` keeps it too
MOST = 256  # classes that an indexed PNG can tell apart
SHOWN = 5  # classes in the line of a picture


def failed(error: InputError | str) -> int:
    """Says so on stderr, above the bar. The exit status."""
    Bar.write(f"error: {error if isinstance(error, str) else message_of(error)}", file=sys.stderr)
    return BAD_INPUT


def demo(options: argparse.Namespace) -> int:
    """Every picture that can be read. Exit status as of `main`."""
    paths, absent = find(options.pictures)
    names = names_of(paths)
    check_places(paths, names, options.out_dir)
    if options.classes is not None:
        check_count(len(read_words(options.classes)) + (options.background is not None))
    bad = [failed(f"no picture at {place}") for place in absent]
    kinds = (OVERLAY, LABELS, *([SCORES] if options.npz else []))
    work = [(path, options.out_dir / name) for path, name in zip(paths, names, strict=True)]
    if options.resume:
        work = [(path, place) for path, place in work if not all(result(place, kind).is_file() for kind in kinds)]
        notice(f"{len(paths) - len(work)} of {len(paths)} pictures have their results in {options.out_dir}")
    if work:
        segment = ready(options, None if options.each else paths)
        if segment.found is not None:
            write_atomically(options.out_dir / WORDS, json.dumps(segment.found.plain(), indent=2) + "\n")
        check_count(len(segment.classes))
        each = (lambda one: segment(one, how_to_find(options), options.background)) if options.each else None
        unread = segment_all(segment, work, kinds, each)
        bad += unread
        if len(unread) < len(work):
            print(f"written to {options.out_dir}: {', '.join(f'NAME{kind}' for kind in kinds)}")
    return 2 if bad else 0


def segment_all(
    segment: Predictor,
    work: Sequence[tuple[Path, Path]],
    kinds: Sequence[str],
    each: Callable[[np.ndarray], Prediction] | None = None,
) -> list[int]:
    """Writes the results of each picture to its place, and says what is in it; an entry for each unreadable one.

    `each`: who segments a picture alone, with words that are found in it.
    """
    read: deque[tuple[Path, Path, np.ndarray]] = deque()
    bad: list[int] = []
    with Bar(total=len(work), unit="picture", hidden=len(work) < 2) as bar:

        def pictures() -> Iterator[np.ndarray]:
            for path, place in work:
                try:
                    picture = np.ascontiguousarray(read_picture(path)[..., ::-1])
                except InputError as error:
                    bad.append(failed(error))
                    bar.update()
                    continue
                read.append((path, place, picture))
                yield picture

        for found in map(each, pictures()) if each else segment.stream(pictures()):
            path, place, picture = read.popleft()
            write(place, picture, found, kinds)
            if each:
                write_atomically(result(place, f".{WORDS}"), json.dumps(found.found.plain(), indent=2) + "\n")
            Bar.write(f"{path}: {found.found if each else summary(found.shares)}")
            bar.update()
    return bad


def result(place: Path, kind: str) -> Path:
    """PLACE.overlay.png and so on."""
    return place.parent / (place.name + kind)


def find(places: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The pictures that are meant, each once, and the arguments that mean none.

    A file stands for itself, a folder for the pictures in it, and anything else is a pattern; neither of the two
    means what this tool wrote.
    """
    found: dict[Path, Path] = {}
    absent = []
    for place in places:
        path = existing(place)
        if path.is_file():
            paths = [path]
        else:
            inside = path.iterdir() if path.is_dir() else map(Path, matches(place))
            paths = sorted(p for p in inside if p.is_file() and not p.name.endswith((OVERLAY, LABELS)))
        if path.is_dir():
            paths = [p for p in paths if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
        for p in paths:
            found.setdefault(p.resolve(), p)
        absent += [] if paths else [place]
    return list(found.values()), absent


def matches(pattern: str) -> list[str]:
    """The paths that a pattern means, written in either of Unicode's two forms; nothing hidden."""
    forms = dict.fromkeys((at_home(pattern), *(normalize(form, at_home(pattern)) for form in ("NFC", "NFD"))))
    return [path for form in forms for path in glob(form, recursive=True)]


def names_of(paths: Sequence[Path]) -> list[str]:
    """A name for each picture that no other has, in capitals or not.

    Its stem; else its path below the folder that all share, `a/dog.jpg` as `a_dog`; else with its suffix; else
    with a number.
    """
    whole = [Path(os.path.abspath(path)) for path in paths]  # not resolved: a link has a name of its own
    top = os.path.commonpath([path.parent for path in whole]) if whole else ""
    below = [path.relative_to(top) for path in whole]
    longer = [
        [path.stem for path in whole],
        ["_".join(path.with_suffix("").parts) for path in below],
        ["_".join(path.parts) for path in below],
        ["_".join((*path.parts, str(number))) for number, path in enumerate(below, 1)],
    ]
    names = longer[0]
    for others in longer[1:]:
        count = Counter(name.lower() for name in names)
        names = [name if count[name.lower()] == 1 else other for name, other in zip(names, others, strict=True)]
    return names


def check_places(paths: Sequence[Path], names: Sequence[str], folder: Path) -> None:
    """Raises InputError if a result would be written over one of the pictures, or the folder cannot be one."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out-dir {folder} is a file")
    results = {(folder / f"{name}{suffix}").resolve() for name in names for suffix in (OVERLAY, LABELS)}
    for path in paths:
        if path.resolve() in results:
            raise InputError(f"the picture {path} would be overwritten by a result; choose another --out-dir")


def check_count(classes: int) -> None:
    """Raises InputError if there are too many for a label map."""
    if classes > MOST:
        raise InputError(f"{classes} classes: a label map as PNG holds {MOST} at most; use sclip_seg.load from Python")


def ready(options: argparse.Namespace, pictures: Iterable[Path | np.ndarray] | None = None) -> Predictor:
    """The method with the words, which are encoded here unless the text bank holds them.

    `pictures`: those that words are found in, where that is asked for; None: not here.
    """
    settings, classes = {"model.text_cache": TEXT_BANK, **options.cfg_options}, options.classes
    if options.memory:
        more = [] if classes is None else wordless(options.memory, read_words(classes))
        chosen = options.method, options.dataset or WITHOUT_DATASET, options.backbone
        settings = with_memory(settings, *chosen, options.memory, options.memory_weight, more)
        classes = None if classes is None else [*read_words(classes), *([name] for name in more)]
    segment = load(options.method, options.backbone, options.dataset, options.device, settings)
    if classes == AUTO:
        if pictures is not None:
            looked_at = islice(readable(pictures), LOOKED_AT)
            print(segment.find_words(looked_at, how_to_find(options), options.background))
    elif classes is not None:
        segment.set_words(classes, options.background)
    return segment


def how_to_find(options: argparse.Namespace) -> AutoWords:
    """How words are found. Raises InputError."""
    return AutoWords(**auto_settings(options))


def readable(pictures: Iterable[Path | np.ndarray]) -> Iterator[np.ndarray]:
    """Those that can be read; of the others something is said later."""
    for picture in pictures:
        with suppress(InputError):
            yield np.ascontiguousarray(read_picture(picture)[..., ::-1]) if isinstance(picture, Path) else picture


def write(place: Path, picture: np.ndarray, found: Prediction, kinds: Sequence[str]) -> None:
    """What was found in a picture (H, W, 3) uint8 RGB, all files or, where one cannot be made, none."""
    labels = found.labels.astype(np.uint8)
    indexed = Image.fromarray(labels)
    indexed.putpalette([value for colour in found.palette for value in colour])
    contents = {OVERLAY: as_png(found.figure(picture)), LABELS: as_png(indexed)}
    if SCORES in kinds:
        buffer = BytesIO()
        np.savez(buffer, labels=labels, scores=found.scores.astype(np.float16), classes=np.array(found.classes))
        contents[SCORES] = buffer.getvalue()
    for kind, content in contents.items():
        write_atomically(result(place, kind), content)


def summary(shares: dict[str, float]) -> str:
    """The classes with the largest shares, and how many more there are."""
    parts = [f"{name} {percent(share)}" for name, share in list(shares.items())[:SHOWN]]
    more = len(shares) - SHOWN
    return ", ".join(parts) + (f", and {more} more" if more > 0 else "")
