"""How likely words are that captions name (CaSED, arXiv 2306.00917): of a picture, or of a region of it.

x its unit feature, t the unit mean of the features of those captions of a large collection that are most like it, w_v
of unit length the words that these captions name:

    p(v) = a softmax_v(s x·w_v) + (1 - a) softmax_v(s t·w_v)         a = 0.7, s the logit scale of the tower

Which captions there are, and which of their words are taken, is the caller's. Official code: github.com/altndrr/vicss,
with ten captions, near duplicates dropped, and a filter by parts of speech.
"""

import torch.nn.functional as F
from torch import Tensor


def by_captions(feature: Tensor, captions: Tensor, words: Tensor, share: float = 0.7, scale: float = 100.0) -> Tensor:
    """p (V,) of words (V, D), of a feature (D,) and captions (C, D), all of unit length; `share` is a, `scale` s."""
    mean = F.normalize(captions.mean(0), dim=0)
    seen, told = ((scale * words @ one).softmax(0) for one in (feature, mean))
    return share * seen + (1 - share) * told
