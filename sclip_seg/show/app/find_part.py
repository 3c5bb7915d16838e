"""The part of the page that finds words: a list that they are among, and a button."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from .examples import LISTS, list_for
from .legend import status
from .parts import AT_ONCE, PROGRESS, Values
from .session import open_upload

if TYPE_CHECKING:
    from .page import Page


class FindPart:
    """Below the words, which it fills."""

    def __init__(self, page: Page, backbone: str) -> None:
        self.page = page
        self.among = gr.Dropdown(
            [(f"{name}: {what}", name) for name, what in LISTS.items()],
            value=list_for(backbone),
            label="Words are found among",
        )
        self.button = gr.Button("Find words", size="sm")

    def wire(self, computing: dict) -> None:
        """What happens when it is used."""
        page = self.page
        asked = {self.among, *page.fields, *page.remembering.asked}
        self.button.click(self.find_words, asked, [page.said, page.words], **computing)
        page.backbone.change(self.take_list, {page.backbone}, self.among, **AT_ONCE)

    def find_words(self, values: Values, progress: gr.Progress = PROGRESS) -> Values:
        """The words of the picture become those that are looked for."""
        page = self.page

        def compute() -> Values:
            picture = open_upload(values[page.picture])
            found, notes = page.session.find_words(picture.pixels, page.wish(values), values[self.among], progress)
            told = [f"{values[page.first]} found {found}.", "Press Run to see where they are."]
            words = ", ".join("; ".join(queries) for queries in found.classes)
            return {page.words: words, page.said: status([*told, *notes])}

        return page.in_words(compute)

    def take_list(self, values: Values) -> Values:
        """The list that fits another backbone."""
        return {self.among: list_for(values[self.page.backbone])}
