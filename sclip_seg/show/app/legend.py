"""What the page says in HTML. Words, file names and reasons come from users: all of them are escaped here."""

import json
from collections.abc import Sequence, Set
from html import escape

from ...drawing import percent
from .found import NOBODY, Found
from .session import Look

HEAD = "<h1>sclip_seg</h1><p>{}</p>"
WHAT_TO_DO = (
    "Give a picture, type what to look for, and press <b>Run</b>. Every pixel gets the word that fits it best. "
    "Then click a point of a picture to see what it looks at. Everything stays on the machine that serves this page."
)
BRIGHT = (
    "Bright: what the ringed point looks at in the last block, within the framed window; or in all windows, where the "
    "method looks across them and nothing is dimmed."
)
HOW = "A click on a word takes its colour off the picture. The pointer on a picture shows word and score."


def head() -> str:
    """The page's title and what to do on it."""
    return HEAD.format(WHAT_TO_DO)


def status(lines: Sequence[str], is_bad: bool = False) -> str:
    """Lines that a screen reader reads out when they change."""
    role, kind = ("alert", "bad") if is_bad else ("status", "good")
    text = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<div class="{kind}" role="{role}">{text}</div>'


def note(line: str) -> str:
    """A line beside a field; nothing where there is none."""
    return f'<p class="note">{escape(line)}</p>' if line else ""


def legend(found: Sequence[Found], off: Set[int] = NOBODY, threshold: float = 0.0) -> str:
    """A row for each class that any method found, with its colour and its share of the picture under each.

    The colours of classes that are `off` are not on the picture, nor are pixels with a score below the threshold.
    """
    shares = [one.shares_above(threshold) for one in found]
    classes, palette = found[0].classes, found[0].palette
    order = sorted(range(len(classes)), key=lambda c: [-share[c] for share in shares])
    present = [c for c in order if any(share[c] for share in shares)]
    rows = "".join(
        _row(_entry(c, classes[c], None if c == found[0].background else palette[c], c in off), [s[c] for s in shares])
        for c in present
    )
    if threshold:
        bare = [float(one.unsure(threshold).mean()) for one in found]
        rows += _row(f"{_swatch(None)}score below {threshold:.2f} (not painted)", bare)
    absent = ", ".join(escape(name) for c, name in enumerate(classes) if c not in present)
    return (
        f'<div class="legend"><table><caption>Share of the picture: {_listed([one.title for one in found])}</caption>'
        f"<tbody>{rows}</tbody></table>{f'<p>Not found: {absent}.</p>' if absent else ''}"
        f'<p class="note">{HOW}</p></div>'
    )


def pointed(found: Sequence[Found]) -> str:
    """What the page's script tells of the pixel under a pointer, picture by picture."""
    return "".join(
        f'<span hidden data-side="{side}" data-names="{escape(json.dumps(one.classes))}" '
        f'data-map="{one.as_data_uri()}"></span>'
        for side, one in enumerate(found)
    )


def told_at(found: Sequence[Found], y: int, x: int) -> list[str]:
    """The word and the score of a pixel under each method; of one outside, nothing."""
    height, width = found[0].labels.shape
    if not (0 <= y < height and 0 <= x < width):
        return []
    at = [(one.method, *one.at(y, x)) for one in found]
    return ["; ".join(f"{method}: {word}, score {score:.2f}" for method, word, score in at)]


def attention(point: tuple[int, int], looks: Sequence[Look]) -> str:
    """The title of the pictures of what a point (y, x) looks at, and why a method has none."""
    y, x = point
    reasons = "".join(f"<p>{escape(look.method)}: {escape(look.reason)}.</p>" for look in looks if look.image is None)
    drawn = any(look.image is not None for look in looks)
    means = f"<p>{BRIGHT}</p>" if drawn else ""
    return f'<h2>Attention of the point x={x}, y={y}</h2><div role="status">{means}{reasons}</div>'


def _listed(methods: Sequence[str]) -> str:
    return escape(", then ".join(methods))


def _row(entry: str, shares: Sequence[float]) -> str:
    cells = "".join(f"<td>{percent(share) if share else '0 %'}</td>" for share in shares)
    return f'<tr><th scope="row">{entry}</th>{cells}</tr>'


def _entry(index: int, name: str, colour: Sequence[int] | None, is_off: bool) -> str:
    """A class as a switch of its colour; the background has none."""
    if colour is None:
        return f"{_swatch(None)}{escape(name)} (not painted)"
    inside = f"{_swatch(None if is_off else colour)}{escape(name)}"
    return f'<button type="button" data-class="{index}" aria-pressed="{str(not is_off).lower()}">{inside}</button>'


def _swatch(colour: Sequence[int] | None) -> str:
    """One that is struck out for what is left unpainted."""
    if colour is None:
        return '<span class="swatch bare"></span>'
    return f'<span class="swatch" style="background: rgb{tuple(map(int, colour))}"></span>'
