"""Stages: what acts on a picture's scores before they are stitched. Any method can be given any of them, in order."""

from torch import nn

from .picture import Picture, Scores


class Stage(nn.Module):
    """Revises a picture's scores, patch by patch."""

    needs_original: bool = False
    """Whether it looks at the picture at its full size."""

    def forward(self, scores: Scores, picture: Picture) -> Scores:
        """Revised scores, on the cells of `scores` or on others."""
        raise NotImplementedError
