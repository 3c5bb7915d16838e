"""RADSeg (CVPR 2026, arXiv 2511.19704): tokens mixed by how alike their own mixtures are, in windows and across them.

SCRA, the attention of the last block, over all of its tokens, with u the unit rows of W_o A v + b_o head by head, A
being the block's own attention; the block then goes on as trained, W_o for a second time:

    R = softmax(s u uᵀ) over the entries that are not negative

SCGA, over the cells of all windows, joined into one map of features F before any language (averaged where windows
overlap), C being the cells' cosines:

    G = softmax(g (C - mean C)) over the entries that are not negative;   scores = cos(language(G F), queries)

s = g = 10. Made for RADIO, whose trunk ends without a norm and has an adaptor for language. Of another tower F is what
its last norm gives, and language is what follows; that is no paper's. Both sides of a picture are brought to multiples
of the stride, the longer one rounded up, the other scaled and rounded up, so that the windows fill it: the aspect
changes, and labels do (8 % of them on tiny weights). Class probabilities, at scale 100, are what is enlarged
(`Probabilities`), and classes that nowhere reach 0.5 leave (`Presence`); both are parts that go with any method.

Official code: github.com/RADSeg-OVSS/RADSeg, followed in all of this; each string is a class of its own there, so that
its vocabularies have no synonyms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..picture.window import brought_to, rounded_up
from ..registry import ATTENTION, TAILS
from ..settings import Positive
from ..towers.attention import Attention, given, softmax
from ..towers.tail import LastBlock, cosines
from ..towers.trace import QKV, Trace

if TYPE_CHECKING:
    from ..picture.picture import Picture, Scores
    from ..words.text import TextBank

CHUNK = 2**23  # similarities that are held at a time


@ATTENTION.register_module()
def scra(t: QKV, sharpness: Positive = 10.0) -> Attention:
    """softmax(s u uᵀ) over the entries that are not negative, u the unit rows of W_o softmax(q kᵀ/√d) v + b_o."""
    mixed = t.out_projection(softmax(t.q, t.k, t.scale) @ t.v)
    return given(positive_softmax(unit_products(mixed), sharpness))


@TAILS.register_module()
class RADSeg(LastBlock):
    """Windows -> one map of features -> aggregated -> language.

    Args:
        attention: that of the last block.
        aggregation: g; None leaves SCGA out.
        residual, mlp: of the last block.
    """

    looks_across = True

    def __init__(
        self,
        attention: str | dict = "scra",
        aggregation: Positive | None = 10.0,
        residual: bool = True,
        mlp: bool = True,
    ) -> None:
        super().__init__(attention, residual, mlp)
        self.aggregation = aggregation

    def check_window(self, window: dict, patch: int) -> None:
        crop, stride = window["crop"], window["stride"]
        if window["padding"] != "stretch" or window["unit"]:
            raise InputError("RADSeg pads no window: leave window.padding and window.unit as they are")
        if crop is not None and (crop % patch or stride % patch):
            raise InputError(
                f"window.crop={crop}, window.stride={stride}: windows are joined patch by patch, so both must be "
                f"multiples of the patch ({patch})"
            )

    def fitted(self, image: Tensor, window: dict, patch: int) -> Tensor:
        """(3, H, W) at multiples of the stride; the whole picture as one window is left as it is."""
        if window["crop"] is None:
            return image
        return brought_to(image, rounded_up(tuple(image.shape[1:]), window["stride"], window["crop"]))

    def gather(self, trace: Trace, text: TextBank) -> Tensor:
        """The patches' features before language, (N, C, h, w)."""
        tokens = trace.once((self, "tokens"), lambda: self.tokens(trace, text))
        return trace.fold(trace.tower.last_norm(tokens[:, trace.prefix :]))

    def read(self, picture: Picture) -> Scores:
        canvas, trunk = picture.plan.joined(picture.gathered.float()), picture.trunk
        cells = canvas.flatten(1).T
        if self.aggregation is not None:
            cells = aggregated(cells, self.aggregation)
        language = trunk.tower.projected(cells.to(trunk.dtype)[None])
        features = language.transpose(1, 2).unflatten(2, canvas.shape[1:])
        return picture.scored(cosines(features, picture.text.features), whole=True)

    def attention_across(self, picture: Picture, y: float, x: float) -> Tensor:
        """How the windows' features are mixed into the cell that the point lies in: G's row, back in the windows."""
        plan, gathered = picture.plan, picture.gathered.float()
        with torch.enable_grad():  # the gradient is what a linear map is, transposed
            tiles = torch.zeros_like(gathered[:, :1], requires_grad=True)
            canvas = plan.joined(tiles)[0]
            sides = zip((y, x), canvas.shape, picture.fitted.shape[1:], strict=True)
            row, column = (min(int(place * count / side), count - 1) for place, count, side in sides)
            cell = torch.tensor([row * canvas.shape[1] + column], device=gathered.device)
            cells = plan.joined(gathered).flatten(1).T
            weights = F.one_hot(cell[0], len(cells)).float()
            if self.aggregation is not None:
                (weights,) = aggregation_weights(F.normalize(cells, dim=1), cell, self.aggregation)
            (back,) = torch.autograd.grad(canvas.flatten() @ weights, tiles)
        return back


def unit_products(rows: Tensor) -> Tensor:
    """u uᵀ (..., T, T), fp32, of rows (..., T, d) made unit."""
    unit = F.normalize(rows.float(), dim=-1)
    return unit @ unit.mT


def positive_softmax(similar: Tensor, sharpness: float) -> Tensor:
    """softmax(s ·) over the entries of each row (..., T) that are not negative; `similar` itself is changed."""
    return similar.mul_(sharpness).masked_fill_(similar < 0, -torch.inf).softmax(-1)


def aggregation_weights(unit: Tensor, rows: Tensor, sharpness: float) -> Tensor:
    """G's `rows` (R, n) of unit features (n, C). The mean of all cosines is the squared length of the mean row."""
    return positive_softmax(unit[rows] @ unit.T - unit.mean(0).square().sum(), sharpness)


def aggregated(cells: Tensor, sharpness: float) -> Tensor:
    """G F of features (n, C), fp32; rows come in chunks, and depend on themselves alone."""
    unit = F.normalize(cells, dim=1)
    chunks = torch.arange(len(cells), device=cells.device).split(max(1, CHUNK // len(cells)))
    return torch.cat([aggregation_weights(unit, rows, sharpness) @ cells for rows in chunks])
