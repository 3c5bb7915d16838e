"""The two kinds of refinement: of a picture's score maps at full size, and of the labels made from them."""

from torch import Tensor, nn


class ScoreStep(nn.Module):
    """Revises score maps."""

    def forward(self, scores: Tensor, image: Tensor) -> Tensor:
        """Score maps (Q, H, W) and the normalised picture (3, h, w) -> refined maps (Q, H, W)."""
        raise NotImplementedError


class LabelStep(nn.Module):
    """Revises labels."""

    def forward(self, labels: Tensor, image: Tensor) -> Tensor:
        """Labels (H, W), int64, and the normalised picture (3, h, w) -> refined labels (H, W)."""
        raise NotImplementedError
