"""The page's parts, and what happens when they are used."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np
from gradio.components import Component

from ...choices import CONFIGS, choices
from ...errors import InputError
from .folder import AGE
from .legend import attention, head, legend, status
from .session import Found, Picture, Session, Wish, open_picture

CSS = (Path(__file__).parent / "page.css").read_text()
NOTHING = "none"
METHODS = "sclip", "clip"  # what the page opens with
SHOWN = 640  # pixels; browsers show small pictures small
SIDES = range(2)  # methods side by side
COMPUTING = dict(concurrency_id="computing", concurrency_limit=1, api_visibility="private")
AT_ONCE = dict(show_progress="hidden", api_visibility="private")
PROGRESS = gr.Progress()  # gradio puts the event's own in its place
Values = dict[Component, object]


@dataclass(frozen=True)
class Start:
    """What the page opens with: example pictures, and the fields' contents."""

    examples: Sequence[Path]
    backbone: str
    words: str = ""
    background: str = ""


@dataclass(frozen=True)
class Shown:
    """What the last run found in its picture (H, W, 3); the opacity only draws it anew."""

    picture: np.ndarray
    found: list[Found]


def theme() -> gr.Theme:
    """The plain one, with fonts of the reader's machine, so that none is fetched, and hints dark enough to read."""
    plain = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return plain.set(
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
    )


class Page:
    """The page, not yet served: `blocks`. Each event's handler takes and gives values by component."""

    def __init__(self, session: Session, start: Start) -> None:
        self.session, self.paths = session, start.examples
        with gr.Blocks(title="sclip_seg", analytics_enabled=False, fill_width=True) as self.blocks:
            _html(head())
            with gr.Row():
                with gr.Column(scale=2, min_width=300):
                    self._lay_out_fields(start)
                with gr.Column(scale=5, min_width=300):
                    self._lay_out_results()
            self._wire()

    def _lay_out_fields(self, start: Start) -> None:
        have = choices(CONFIGS)
        self.picture = gr.Image(
            label="Picture", type="filepath", sources=["upload", "clipboard"], height=260, elem_id="picture", buttons=[]
        )
        # gradio's own opens the file, and fails beyond our handlers where it is no picture.
        self.picture.preprocess = lambda upload: upload and upload.path
        self.examples = gr.Gallery(
            [str(path) for path in self.paths],
            label="Examples",
            columns=4,
            object_fit="contain",
            allow_preview=False,
            interactive=False,
            elem_id="examples",
            buttons=[],
        )
        self.words = gr.Textbox(
            start.words,
            label="Words",
            info="Commas between classes, semicolons between synonyms.",
            placeholder="cat, dog; puppy, grass",
        )
        self.background = gr.Textbox(
            start.background,
            label="Background words",
            info="They make one class more; may be empty.",
            placeholder="wall, floor, sky",
        )
        with gr.Row():
            self.first = gr.Dropdown(have["method"], value=METHODS[0], label="Method", min_width=120)
            self.second = gr.Dropdown([NOTHING, *have["method"]], value=METHODS[1], label="Beside it", min_width=120)
            self.backbone = gr.Dropdown(have["backbone"], value=start.backbone, label="Backbone", min_width=120)
        self.button = gr.Button("Run", variant="primary")
        self.fields = {self.picture, self.words, self.background, self.first, self.second, self.backbone}

    def _lay_out_results(self) -> None:
        self.said = _html(status([]), "status")
        with gr.Row():
            self.overlays = [_panel(f"overlay-{side}", "shown picked") for side in SIDES]
        self.opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity of the colours", visible=False)
        self.legend = _html("", "legend")
        self.title = _html("", "attention")
        with gr.Row():
            self.looks = [_panel(f"attention-{side}", "shown") for side in SIDES]
        self.shown = gr.State(time_to_live=AGE)

    def _wire(self) -> None:
        looked = [self.said, self.title, *self.looks]
        outcome = [*looked, self.shown, self.opacity, self.legend, *self.overlays]
        asked = {*self.fields, self.shown, self.opacity}
        computing = dict(show_progress_on=self.said, **COMPUTING)
        for event in (self.button.click, self.words.submit, self.background.submit):
            event(self.run, asked, outcome, **computing)
        self.picture.select(self.look_at_upload, asked, looked, **computing)
        for overlay in self.overlays:
            overlay.select(self.look_at_overlay, asked, looked, **computing)
        self.examples.select(self.take_example, None, self.picture, **AT_ONCE)
        # In the same line as the computing, so that a run that is still going on does not come after it.
        self.picture.change(self.change, {self.picture}, outcome, show_progress="hidden", **COMPUTING)
        self.opacity.change(self.draw, {self.shown, self.opacity}, self.overlays, **AT_ONCE)

    def take_example(self, at: gr.SelectData) -> Values:
        """An example becomes the picture."""
        if not (isinstance(at.index, int) and 0 <= at.index < len(self.paths)):
            return {}
        return {self.picture: str(self.paths[at.index])}

    def change(self, values: Values) -> Values:
        """Another picture: what was found in the one before goes."""
        path = values[self.picture]
        note = self._in_words(lambda: {self.said: status(_opened(path).notes)}) if path else {}
        return {self.said: status([]), **self._nothing_found(), **note}

    def run(self, values: Values, progress: gr.Progress = PROGRESS) -> Values:
        """The overlays and the legend."""

        def compute() -> Values:
            picture = _opened(values[self.picture])
            found, notes = self.session.run(picture.pixels, self._wish(values), progress)
            shown = Shown(picture.pixels, found)
            return {
                **self._nothing_looked_at(),
                **self.draw({self.shown: shown, self.opacity: values[self.opacity]}),
                self.said: status([*picture.notes, *notes]),
                self.shown: shown,
                self.opacity: gr.update(visible=True),
                self.legend: legend(found),
            }

        return {**self._nothing_found(), **self._in_words(compute)}

    def draw(self, values: Values) -> Values:
        """The overlays of the last run."""
        shown = values[self.shown]
        found = shown.found if shown else []
        return _filled(self.overlays, [(one.method, one.over(shown.picture, values[self.opacity])) for one in found])

    def look_at_upload(self, values: Values, at: gr.SelectData, progress: gr.Progress = PROGRESS) -> Values:
        """Attention of a point of the picture as it was uploaded."""

        def compute() -> Values:
            picture = _opened(values[self.picture])
            return self._look(picture.pixels, picture.at(*_point(at)), values, progress)

        return {**self._nothing_looked_at(), **self._in_words(compute)}

    def look_at_overlay(self, values: Values, at: gr.SelectData, progress: gr.Progress = PROGRESS) -> Values:
        """Attention of a point of the picture that was run on."""

        def compute() -> Values:
            if values[self.shown] is None:  # the page was open while the server was started anew
                raise InputError("what was found is gone: press Run again")
            picture = values[self.shown].picture
            x, y = (int(part) // magnification(picture) for part in _point(at))
            return self._look(picture, (y, x), values, progress)

        return {**self._nothing_looked_at(), **self._in_words(compute)}

    def _look(self, pixels: np.ndarray, point: tuple[int, int], values: Values, progress: gr.Progress) -> Values:
        looks = self.session.look(pixels, point, self._wish(values), progress)
        panels = [(f"{look.method}: attention", look.image) for look in looks if look.image is not None]
        said = status([f"Below: what the point x={point[1]}, y={point[0]} looks at."])
        return {self.said: said, self.title: attention(point, looks), **_filled(self.looks, panels)}

    def _wish(self, values: Values) -> Wish:
        pair = values[self.first], values[self.second]
        methods = tuple(dict.fromkeys(method for method in pair if method != NOTHING))
        return Wish(values[self.words], values[self.background], methods, values[self.backbone])

    def _in_words(self, compute: Callable[[], Values]) -> Values:
        """What it computes, or a status line with the user's mistake or the machine's limit."""
        try:
            return compute()
        except (InputError, OSError) as error:
            line = str(error)
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "out of memory" not in str(error):
                raise
            line = "out of memory: take a smaller picture or a smaller backbone"
        return {self.said: status([line], is_bad=True)}

    def _nothing_found(self) -> Values:
        gone = {self.shown: None, self.opacity: gr.update(visible=False), self.legend: ""}
        return {**gone, **_filled(self.overlays, []), **self._nothing_looked_at()}

    def _nothing_looked_at(self) -> Values:
        return {self.title: "", **_filled(self.looks, [])}


def _opened(path: str | None) -> Picture:
    """The picture; a file that is used is kept for longer."""
    picture = open_picture(path)
    os.utime(path)
    return picture


def _point(at: gr.SelectData) -> tuple[float, float]:
    """Where a picture was clicked, (x, y); what comes from a browser may be anything."""
    point = at.index if isinstance(at.index, list | tuple) else ()
    if len(point) != 2 or not all(isinstance(part, int | float) and abs(part) < 1e6 for part in point):
        raise InputError("that is no point of the picture")
    return tuple(point)


def magnification(picture: np.ndarray) -> int:
    """How many pixels a side of the page stand for one of a small picture (H, W, 3)."""
    return max(1, round(SHOWN / max(picture.shape[:2])))


def _html(text: str, name: str | None = None) -> gr.HTML:
    return gr.HTML(text, elem_id=name, apply_default_css=False)


def _panel(name: str, kinds: str) -> gr.Image:
    # PNG: no compression may add colours that mean nothing.
    return gr.Image(
        visible=False, interactive=False, format="png", elem_id=name, elem_classes=kinds.split(), buttons=["fullscreen"]
    )


def _filled(panels: Sequence[gr.Image], pictures: Sequence[tuple[str, np.ndarray]]) -> Values:
    """Updates: titled pictures in the first panels, the others hidden."""
    filled = {panel: gr.update(value=None, visible=False) for panel in panels}
    shown = (
        gr.update(value=_magnified(pixels), label=title, alt_text=title, visible=True) for title, pixels in pictures
    )
    return filled | dict(zip(panels, shown, strict=False))


def _magnified(picture: np.ndarray) -> np.ndarray:
    return picture.repeat(magnification(picture), axis=0).repeat(magnification(picture), axis=1)
