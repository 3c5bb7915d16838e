"""The page's parts, and what happens when they are used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr
import numpy as np

from ...choices import CONFIGS, choices
from ...errors import InputError
from .downloads import labels_and_overlays, scores
from .examples import Example, what_it_knows
from .find_part import FindPart
from .folder import AGE
from .found import NOBODY, Found
from .legend import attention, head, legend, note, pointed, status, told_at
from .memory_part import MemoryPart
from .parts import AT_ONCE, COMPUTING, PROGRESS, SIDES, Values, filled, html, magnification, panel, point_of
from .session import Session, Wish, open_upload, told_of

CSS, LEGEND, POINTER = ((Path(__file__).parent / name).read_text() for name in ("page.css", "legend.js", "pointer.js"))
NOTHING = "nothing"
METHODS = "sclip", "clip"  # what the page opens with


@dataclass(frozen=True)
class Start:
    """What the page opens with: example pictures with their words, and a backbone."""

    examples: Sequence[Example]
    backbone: str


@dataclass(frozen=True)
class Shown:
    """What the last run was asked and found in its picture (H, W, 3); all else only draws it anew.

    `off`: classes whose colours are taken off the picture. `point` (y, x) was clicked last, on the picture of a `side`.
    """

    picture: np.ndarray
    wish: Wish
    found: list[Found]
    off: frozenset[int] = NOBODY
    point: tuple[int, int] | None = None
    side: int = 0


class Page:
    """The page, not yet served: `blocks`. Each event's handler takes and gives values by component."""

    def __init__(self, session: Session, start: Start) -> None:
        self.session, self.given = session, start.examples
        with gr.Blocks(title="sclip_seg", analytics_enabled=False, fill_width=True) as self.blocks:
            html(head())
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
            [str(example.path) for example in self.given],
            label="Examples, each with its words",
            columns=4,
            object_fit="contain",
            allow_preview=False,
            interactive=False,
            elem_id="examples",
            buttons=[],
        )
        self.words = gr.Textbox(
            label="Words",
            info="Commas between classes, semicolons between synonyms.",
            placeholder="cat, dog; puppy, grass",
        )
        self.finding = FindPart(self, start.backbone)
        self.background = gr.Textbox(
            label="Background words",
            info="They make one class more, which is left unpainted; may be empty.",
            placeholder="wall, floor, sky",
        )
        self.button = gr.Button("Run", variant="primary")
        with gr.Row():
            self.first = gr.Dropdown(have["method"], value=METHODS[0], label="Method", min_width=120)
            self.second = gr.Dropdown([NOTHING, *have["method"]], value=METHODS[1], label="Compare with", min_width=120)
            self.backbone = gr.Dropdown(have["backbone"], value=start.backbone, label="Backbone", min_width=120)
        self.knows = html(note(what_it_knows(start.backbone)), "knows")
        self.fields = {self.picture, self.words, self.background, self.first, self.second, self.backbone}

    def _lay_out_results(self) -> None:
        self.said = html(status([]), "status")
        with gr.Row():
            self.overlays = [panel(f"overlay-{side}", "shown picked") for side in SIDES]
        with gr.Row(visible=False) as self.how:
            self.opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity of the colours", min_width=240)
            self.threshold = gr.Slider(0, 1, 0, step=0.05, label="Lowest score that is painted", min_width=240)
        self.legend = html("", "legend", LEGEND)
        self.pointed = html("", "pointed", POINTER)
        self.remembering = MemoryPart(self)
        self.title = html("", "attention")
        with gr.Row():
            self.looks = [panel(f"attention-{side}", "shown") for side in SIDES]
        with gr.Row(visible=False) as self.to_save:
            self.save = gr.Button("Labels and overlays as files", size="sm", min_width=240)
            self.save_scores = gr.Button("All scores as files", size="sm", min_width=240)
        self.files = gr.File(label="To download", visible=False, interactive=False, elem_id="files")
        self.shown = gr.State(time_to_live=AGE)

    def _wire(self) -> None:
        looked = [self.said, self.title, *self.looks]
        drawn = [self.shown, self.legend, *self.overlays]
        outcome = [*looked, *drawn, self.how, self.pointed, self.to_save, self.files, self.remembering.place]
        drawing = {self.shown, self.opacity, self.threshold}
        asked = {*self.fields, *drawing, *self.remembering.asked}
        computing = dict(show_progress_on=self.said, **COMPUTING)
        for event in (self.button.click, self.words.submit, self.background.submit):
            event(self.run, asked, outcome, **computing)
        clicked = dict(computing, trigger_mode="multiple")  # gradio's "always_last" has the place of the first click
        self.picture.select(self.look_at_upload, asked, looked, **clicked)
        for overlay in self.overlays:
            overlay.select(self.look_at_overlay, asked, [*looked, self.shown], **clicked)
        fields = [self.picture, self.words, self.background]
        self.examples.select(self.take_example, None, fields, **AT_ONCE)
        self.picture.input(self.take_own, {*fields}, fields[1:], **AT_ONCE)
        self.backbone.change(self.say_what_it_knows, {self.backbone}, self.knows, **AT_ONCE)
        # In the same line as the computing, so that a run that is still going on does not come after it.
        self.picture.change(self.change, {self.picture}, outcome, show_progress="hidden", **COMPUTING)
        for slider in (self.opacity, self.threshold):
            slider.change(self.draw, drawing, drawn, **AT_ONCE)
        self.legend.click(self.switch, drawing, drawn, **AT_ONCE)
        self.save.click(self.write, drawing, [self.said, self.files], **computing)
        self.save_scores.click(self.write_scores, drawing, [self.said, self.files], **computing)
        self.finding.wire(computing)
        self.remembering.wire(asked, outcome, computing)

    def take_example(self, at: gr.SelectData) -> Values:
        """An example becomes the picture, and its words, if it has some, the words."""
        if not (isinstance(at.index, int) and 0 <= at.index < len(self.given)):
            return {}
        example = self.given[at.index]
        words = {self.words: example.words, self.background: example.background} if example.words else {}
        return {self.picture: str(example.path), **words}

    def take_own(self, values: Values) -> Values:
        """A picture of the visitor's own: words that an example brought do not go with it."""
        words = values[self.words], values[self.background]
        brought = any(words == (example.words, example.background) for example in self.given)
        is_own = values[self.picture] and brought
        return {self.words: "", self.background: ""} if is_own else {self.words: values[self.words]}

    def say_what_it_knows(self, values: Values) -> Values:
        """What the chosen backbone can and cannot, where that is little."""
        return {self.knows: note(what_it_knows(values[self.backbone]))}

    def change(self, values: Values) -> Values:
        """Another picture: what was found in the one before goes."""
        path = values[self.picture]
        note = self.in_words(lambda: {self.said: status(open_upload(path).notes)}) if path else {}
        return {self.said: status([]), **self._nothing_found(), **note}

    def run(self, values: Values, progress: gr.Progress = PROGRESS) -> Values:
        """The overlays and the legend."""

        def compute() -> Values:
            picture = open_upload(values[self.picture])
            return self.found(values, picture.pixels, self.wish(values), picture.notes, progress)

        return {**self._nothing_found(), **self.in_words(compute)}

    def found(
        self, values: Values, pixels: np.ndarray, wish: Wish, notes: Sequence[str], progress: gr.Progress
    ) -> Values:
        """What is found in a picture (H, W, 3), as it is shown."""
        found, told = self.session.run(pixels, wish, progress)
        return {
            **self._nothing_looked_at(),
            **self.draw({**values, self.shown: Shown(pixels, wish, found)}),
            self.said: status([*notes, *told]),
            self.pointed: pointed(found),
            **{part: gr.update(visible=True) for part in (self.how, self.to_save, self.remembering.place)},
        }

    def draw(self, values: Values) -> Values:
        """The overlays and the legend of the last run, with the opacity and the threshold as they now are."""
        shown, threshold = values[self.shown], values[self.threshold]
        if shown is None:
            return {**filled(self.overlays, []), self.shown: None, self.legend: ""}
        overlays = [
            (one.title, one.over(shown.picture, values[self.opacity], shown.off, threshold)) for one in shown.found
        ]
        told = legend(shown.found, shown.off, threshold)
        return {**filled(self.overlays, overlays), self.shown: shown, self.legend: told}

    def switch(self, values: Values, at: gr.EventData) -> Values:
        """A class of the legend was clicked: its colour goes off the picture, or comes back."""
        shown, index = values[self.shown], (at._data or {}).get("index")
        if shown is None or index not in range(len(shown.found[0].classes)):
            return {self.shown: shown}
        return self.draw({**values, self.shown: replace(shown, off=shown.off ^ {index})})

    def write(self, values: Values) -> Values:
        """Label maps as found, overlays as shown, and the list of classes, to download."""

        def compute() -> Values:
            shown = self.last(values)
            files = labels_and_overlays(shown.picture, shown.found, values[self.threshold])
            return {self.said: status(["The files are below."]), self.files: gr.update(value=files, visible=True)}

        return self.in_words(compute)

    def write_scores(self, values: Values, progress: gr.Progress = PROGRESS) -> Values:
        """The scores of all classes, computed again, to download."""

        def compute() -> Values:
            shown = self.last(values)
            files = scores(self.session.predictions(shown.picture, shown.wish, progress), shown.wish.memories)
            return {self.said: status(["The files are below."]), self.files: gr.update(value=files, visible=True)}

        return self.in_words(compute)

    def last(self, values: Values) -> Shown:
        """What was found last. Raises InputError where it is gone."""
        if values[self.shown] is None:  # the page was open while the server was started anew
            raise InputError("what was found is gone: press Run again")
        return values[self.shown]

    def look_at_upload(self, values: Values, at: gr.SelectData, progress: gr.Progress = PROGRESS) -> Values:
        """Attention of a point of the picture as it was uploaded."""

        def compute() -> Values:
            picture = open_upload(values[self.picture])
            return self._look(picture.pixels, picture.at(*point_of(at)), values, progress)

        return {**self._nothing_looked_at(), **self.in_words(compute)}

    def look_at_overlay(self, values: Values, at: gr.SelectData, progress: gr.Progress = PROGRESS) -> Values:
        """Attention of a point of the picture that was run on."""

        def compute() -> Values:
            shown = self.last(values)
            x, y = (int(part) // magnification(shown.picture) for part in point_of(at))
            done = self._look(shown.picture, (y, x), values, progress)
            side = next((side for side, one in enumerate(self.overlays) if one is getattr(at, "target", None)), 0)
            told = [_below(y, x), *told_at(shown.found, y, x)]
            return {**done, self.said: status(told), self.shown: replace(shown, point=(y, x), side=side)}

        return {**self._nothing_looked_at(), **self.in_words(compute)}

    def _look(self, pixels: np.ndarray, point: tuple[int, int], values: Values, progress: gr.Progress) -> Values:
        looks = self.session.look(pixels, point, self.wish(values), progress)
        panels = [(f"{look.method}: attention", look.image) for look in looks if look.image is not None]
        return {self.said: status([_below(*point)]), self.title: attention(point, looks), **filled(self.looks, panels)}

    def wish(self, values: Values) -> Wish:
        """What the fields and the memory ask for."""
        pair = values[self.first], values[self.second]
        methods = tuple(dict.fromkeys(method for method in pair if method != NOTHING))
        wish = Wish(values[self.words], values[self.background], methods, values[self.backbone])
        return self.remembering.blended(wish, values)

    def in_words(self, compute: Callable[[], Values]) -> Values:
        """What it computes, or a status line with the user's mistake or the machine's limit."""
        try:
            return compute()
        except Exception as error:
            line = told_of(error)
            if line is None:
                raise
        return {self.said: status([line], is_bad=True)}

    def _nothing_found(self) -> Values:
        hidden = {part: gr.update(visible=False) for part in (self.how, self.to_save, self.remembering.place)}
        gone = {self.shown: None, self.legend: "", self.pointed: "", self.files: gr.update(value=None, visible=False)}
        return {**gone, **hidden, **filled(self.overlays, []), **self._nothing_looked_at()}

    def _nothing_looked_at(self) -> Values:
        return {self.title: "", **filled(self.looks, [])}


def _below(y: int, x: int) -> str:
    return f"Below: what the point x={x}, y={y} looks at."
