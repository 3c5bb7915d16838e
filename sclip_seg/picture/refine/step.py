"""The two kinds of refinement: of a picture's score maps, and of the labels made from them."""

from torch import Tensor, nn

from ...towers.encoder import DenseCLIP
from ..picture import Picture
from ..scores import DenseMaps, StitchedMaps


class Step(nn.Module):
    """What both kinds may say of themselves."""

    needs_original: bool = False
    """Whether it looks at the picture at its full size."""

    def check_tower(self, tower: DenseCLIP) -> None:
        """Raises InputError for a tower, or a tail of it, that the step cannot ask."""


class ScoreStep(Step):
    """Revises score maps. Most see them at full size beside the network's input, and need `forward` alone."""

    def revise(self, maps: StitchedMaps | DenseMaps, picture: Picture) -> StitchedMaps | DenseMaps:
        """Refined score maps, of the same shape."""
        return DenseMaps(self(maps.dense(), picture.image))

    def forward(self, scores: Tensor, image: Tensor) -> Tensor:
        """Score maps (Q, H, W) and the normalised picture (3, h, w) -> refined maps (Q, H, W)."""
        raise NotImplementedError


class LabelStep(Step):
    """Revises labels. Most see nothing else but the network's input, and need `forward` alone."""

    def revise(self, labels: Tensor, maps: StitchedMaps | DenseMaps, picture: Picture) -> Tensor:
        """Refined labels (H, W); `maps` are the refined scores that the first labels were made of."""
        return self(labels, picture.image)

    def forward(self, labels: Tensor, image: Tensor) -> Tensor:
        """Labels (H, W), int64, and the normalised picture (3, h, w) -> refined labels (H, W)."""
        raise NotImplementedError
