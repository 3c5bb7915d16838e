"""What the page says in HTML. Words, file names and reasons come from users: all of them are escaped here."""

from collections.abc import Sequence
from html import escape

from ...drawing import percent
from .session import Found, Look

HEAD = "<h1>sclip_seg</h1><p>{}</p>"
WHAT_TO_DO = (
    "Give a picture, type what to look for, and press <b>Run</b>. "
    "Then click a point of a picture to see what it looks at. Everything stays on the machine that serves this page."
)
BRIGHT = (
    "Bright: what the ringed point looks at in the last block, within the framed window; or in all windows, where the "
    "method looks across them and nothing is dimmed."
)


def head() -> str:
    """The page's title and what to do on it."""
    return HEAD.format(WHAT_TO_DO)


def status(lines: Sequence[str], is_bad: bool = False) -> str:
    """Lines that a screen reader reads out when they change."""
    role, kind = ("alert", "bad") if is_bad else ("status", "good")
    text = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<div class="{kind}" role="{role}">{text}</div>'


def legend(found: Sequence[Found]) -> str:
    """A row for each class that any method found, with its colour and its share of the picture under each."""
    shares = [one.shares for one in found]
    classes, palette = found[0].classes, found[0].palette
    order = sorted(range(len(classes)), key=lambda c: [-share[c] for share in shares])
    present = [c for c in order if any(share[c] for share in shares)]
    rows = "".join(
        f'<tr><th scope="row">{_swatch(None if c == found[0].background else palette[c])}{escape(classes[c])}</th>'
        + "".join(f"<td>{percent(share[c]) if share[c] else '0 %'}</td>" for share in shares)
        + "</tr>"
        for c in present
    )
    absent = ", ".join(escape(name) for c, name in enumerate(classes) if c not in present)
    return (
        f'<div class="legend"><table><caption>Share of the picture: {_listed([one.method for one in found])}</caption>'
        f"<tbody>{rows}</tbody></table>{f'<p>Nowhere: {absent}.</p>' if absent else ''}</div>"
    )


def attention(point: tuple[int, int], looks: Sequence[Look]) -> str:
    """The title of the pictures of what a point (y, x) looks at, and why a method has none."""
    y, x = point
    reasons = "".join(f"<p>{escape(look.method)}: {escape(look.reason)}.</p>" for look in looks if look.image is None)
    drawn = any(look.image is not None for look in looks)
    means = f"<p>{BRIGHT}</p>" if drawn else ""
    return f'<h2>Attention of the point x={x}, y={y}</h2><div role="status">{means}{reasons}</div>'


def _listed(methods: Sequence[str]) -> str:
    return escape(", then ".join(methods))


def _swatch(colour: Sequence[int] | None) -> str:
    """An empty one for what is left unpainted."""
    style = f' style="background: rgb{tuple(map(int, colour))}"' if colour is not None else ""
    return f'<span class="swatch"{style}></span>'
