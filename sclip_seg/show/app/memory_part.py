"""The part of the page that remembers: regions of results, by a click and a name, for as long as a visitor stays.

What is remembered is the visitor's own (`gr.State`), as the features of each method with each backbone, and bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import gradio as gr

from ...errors import InputError
from ...evaluate.remember_region import LONGEST, region_at
from .downloads import memory_files
from .folder import AGE
from .legend import note, status
from .parts import PROGRESS, Values, html
from .session import WEIGHT, Wish

if TYPE_CHECKING:
    from ...regions.memory import RegionMemory
    from .page import Page

MOST = 4  # pairs of a backbone and a method that are remembered for; the oldest goes
Remembered = Mapping[tuple[str, str], "RegionMemory"]
WHAT_TO_DO = (
    "Click a region of a result, say what it is, and have it remembered: results are then blended with it, few-shot."
)


class MemoryPart:
    """Below the legend; there as long as there is a result."""

    def __init__(self, page: Page) -> None:
        self.page = page
        with gr.Column(visible=False) as self.place:
            with gr.Row():
                self.name = gr.Textbox(label="The clicked region is", max_length=LONGEST, min_width=200)
                self.weight = gr.Slider(0, 1, WEIGHT, step=0.05, label="Weight of the memory", min_width=200)
            with gr.Row():
                self.keep = gr.Button("Remember this", size="sm", min_width=140)
                self.save = gr.Button("Memory as a file", size="sm", min_width=140)
                self.drop = gr.Button("Forget everything", size="sm", min_width=140)
            self.told = html(note(WHAT_TO_DO), "memory")
        self.memory = gr.State(time_to_live=AGE)
        self.asked = {self.memory, self.weight}

    def wire(self, asked: set, outcome: list, computing: dict) -> None:
        """What happens when it is used. `asked`, `outcome`: of a run."""
        page, after = self.page, [*outcome, self.memory, self.told, self.name]
        once = dict(computing, trigger_mode="once")  # pressed twice, it would ask for another name
        for event in (self.keep.click, self.name.submit):
            event(self.remember, {*asked, self.name}, after, **once)
        self.weight.change(self.weigh, asked, after, **computing)
        self.drop.click(self.forget, asked, after, **computing)
        self.save.click(self.write_memory, asked, [page.said, page.files], **computing)

    def blended(self, wish: Wish, values: Values) -> Wish:
        """The wish with what is remembered for its methods."""
        kept: Remembered = values[self.memory] or {}
        own = {method: kept[wish.backbone, method] for method in wish.methods if (wish.backbone, method) in kept}
        return replace(wish, memories=own, weight=values[self.weight])

    def remember(self, values: Values, progress: gr.Progress = PROGRESS) -> Values:
        """The region that was clicked last is remembered by its name, and the result is blended with it."""

        def remembered(wish: Wish) -> tuple[Wish, Remembered]:
            shown = self.page.last(values)
            if shown.point is None:
                raise InputError("click a region of the result first, then say what it is")
            mask = region_at(shown.found[min(shown.side, len(shown.found) - 1)].labels, shown.point)
            memories = self.page.session.remember(shown.picture, mask, values[self.name] or "", wish, progress)
            own = {(wish.backbone, method): memory for method, memory in memories.items()}
            kept = {key: memory for key, memory in (values[self.memory] or {}).items() if key not in own} | own
            return replace(wish, memories=memories), dict(list(kept.items())[-MOST:])

        done = self._anew(values, remembered, progress)
        return {**done, self.name: ""} if self.memory in done else done

    def weigh(self, values: Values, progress: gr.Progress = PROGRESS) -> Values:
        """The result with another weight, where something is remembered."""
        if values[self.page.shown] is None or not values[self.memory]:
            return {self.told: self._described(values[self.memory] or {})}
        return self._anew(values, lambda wish: (wish, values[self.memory]), progress)

    def forget(self, values: Values, progress: gr.Progress = PROGRESS) -> Values:
        """The result of the words alone."""
        if values[self.page.shown] is None:
            return {self.memory: None, self.told: self._described({})}
        return self._anew(values, lambda wish: (replace(wish, memories={}), {}), progress)

    def write_memory(self, values: Values) -> Values:
        """What is remembered for the methods of the result, to download."""
        page = self.page

        def compute() -> Values:
            wish = self.blended(page.last(values).wish, values)
            if not wish.memories:
                raise InputError("nothing is remembered yet: click a region, and say what it is")
            files = memory_files(wish.memories)
            method = next(iter(wish.memories))
            how = f"sclip-seg demo PICTURES --method {method} --backbone {wish.backbone} --classes WORDS"
            told = f"The files are below: {how} --memory {method}.memory.safetensors"
            return {page.said: status([told]), page.files: gr.update(value=files, visible=True)}

        return page.in_words(compute)

    def _anew(self, values: Values, change: Callable[[Wish], tuple[Wish, Remembered]], progress: gr.Progress) -> Values:
        """The last result again, after a change of what is remembered."""
        page = self.page

        def compute() -> Values:
            shown = page.last(values)
            wish, kept = change(self.blended(shown.wish, values))
            done = page.found(values, shown.picture, wish, [], progress)
            return {**done, self.memory: kept, self.told: self._described(kept)}

        return page.in_words(compute)

    def _described(self, kept: Remembered) -> str:
        told = [f"{method} with {backbone}: {memory.described}." for (backbone, method), memory in kept.items()]
        names = dict.fromkeys(name for memory in kept.values() for name in memory.own_names)
        return note("\n".join([*told, f"Names: {', '.join(names)}."])) if kept else note(WHAT_TO_DO)
