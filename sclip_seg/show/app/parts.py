"""What the page is made of: its looks, panels for pictures, and how they are filled."""

from collections.abc import Sequence

import gradio as gr
import numpy as np
from gradio.components import Component

from ...errors import InputError

SHOWN = 640  # pixels; browsers show small pictures small
SIDES = range(2)  # methods side by side
Values = dict[Component, object]
# One after the other. What is asked while the same is being computed comes after it, with the fields as they then are.
COMPUTING = dict(concurrency_id="computing", concurrency_limit=1, api_visibility="private", trigger_mode="always_last")
AT_ONCE = dict(show_progress="hidden", api_visibility="private")
PROGRESS = gr.Progress()  # gradio puts the event's own in its place


def theme() -> gr.Theme:
    """The plain one, with fonts of the reader's machine, so that none is fetched, and hints dark enough to read."""
    plain = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return plain.set(
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
    )


def magnification(picture: np.ndarray) -> int:
    """How many pixels a side of the page stand for one of a small picture (H, W, 3)."""
    return max(1, round(SHOWN / max(picture.shape[:2])))


def html(text: str, name: str | None = None, script: str | None = None) -> gr.HTML:
    """A part that is written in HTML, with a script that runs when it is there."""
    return gr.HTML(text, elem_id=name, js_on_load=script, apply_default_css=False)


def panel(name: str, kinds: str) -> gr.Image:
    """A place for a picture, hidden until it has one."""
    # On a phone each has the whole width.
    look = dict(elem_id=name, elem_classes=kinds.split(), buttons=["fullscreen"], min_width=240)
    # PNG: no compression may add colours that mean nothing.
    return gr.Image(visible=False, interactive=False, format="png", **look)


def filled(panels: Sequence[gr.Image], pictures: Sequence[tuple[str, np.ndarray]]) -> Values:
    """Updates: titled pictures in the first panels, the others hidden."""
    updates = {panel: gr.update(value=None, visible=False) for panel in panels}
    shown = (
        gr.update(value=_magnified(pixels), label=title, alt_text=title, visible=True) for title, pixels in pictures
    )
    return updates | dict(zip(panels, shown, strict=False))


def point_of(at: gr.SelectData) -> tuple[float, float]:
    """Where a picture was clicked, (x, y); what comes from a browser may be anything."""
    point = at.index if isinstance(at.index, list | tuple) else ()
    if len(point) != 2 or not all(isinstance(part, int | float) and abs(part) < 1e6 for part in point):
        raise InputError("that is no point of the picture")
    return tuple(point)


def _magnified(picture: np.ndarray) -> np.ndarray:
    return picture.repeat(magnification(picture), axis=0).repeat(magnification(picture), axis=1)
