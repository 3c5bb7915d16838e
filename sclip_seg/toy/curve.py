"""The log of a training as a picture: loss, and the mIoU of some methods, by steps."""

from collections.abc import Sequence
from pathlib import Path

from ..files import write_atomically

WIDTH, HEIGHT, MARGIN, GAP = 360, 220, 44, 30
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0")  # told apart by all eyes, and by their places


def draw(log: Sequence[dict], path: Path) -> None:
    """Writes an SVG of the lines of a log: the loss on the left, the scores on the right."""
    losses = {"loss": [(line["step"], line["loss"]) for line in log if "loss" in line]}
    probes = [line for line in log if "miou" in line]
    names = list(probes[-1]["miou"]) if probes else []
    scores = {name: [(line["step"], line["miou"][name]) for line in probes] for name in names}
    steps = max((line["step"] for line in log), default=1)
    size = f"{2 * (WIDTH + MARGIN) + GAP + 70} {HEIGHT + 2 * MARGIN}"
    write_atomically(
        path,
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        + _panel(losses, steps, MARGIN, "loss")
        + _panel(scores, steps, 2 * MARGIN + WIDTH + GAP, "mIoU of held-out scenes")
        + "</svg>\n",
    )


def _panel(series, steps, left, title):
    values = [value for points in series.values() for _, value in points]
    top = max(values, default=1.0) * 1.05 or 1.0
    parts = [
        f'<text x="{left}" y="{MARGIN - 12}" font-weight="bold">{title}</text>\n',
        f'<path d="M{left} {MARGIN}V{MARGIN + HEIGHT}H{left + WIDTH}" fill="none" stroke="#888"/>\n',
    ]
    for share in (0, 0.5, 1):
        y = MARGIN + HEIGHT * (1 - share)
        parts.append(f'<text x="{left - 5}" y="{y + 4:.0f}" text-anchor="end">{top * share:.1f}</text>\n')
        x = left + WIDTH * share
        parts.append(f'<text x="{x:.0f}" y="{MARGIN + HEIGHT + 16}" text-anchor="middle">{steps * share:.0f}</text>\n')
    parts.append(f'<text x="{left + WIDTH / 2}" y="{MARGIN + HEIGHT + 32}" text-anchor="middle">steps</text>\n')
    below = -1e9  # names of lines that end close to each other stand below each other
    for (name, points), colour in sorted(zip(series.items(), COLOURS, strict=False), key=lambda one: -_last(one[0][1])):
        places = [(left + WIDTH * step / steps, MARGIN + HEIGHT * (1 - value / top)) for step, value in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>\n')
        if places:
            below = max(places[-1][1] + 4, below + 12)
            parts.append(f'<text x="{places[-1][0] + 4:.0f}" y="{below:.0f}" fill="{colour}">{name}</text>\n')
    return "".join(parts)


def _last(points):
    return points[-1][1] if points else 0.0
