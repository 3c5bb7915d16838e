"""CLIP (Radford et al., ICML 2021, arXiv 2103.00020), read densely: the baseline of every table.

    A = softmax(q kᵀ / √d),   F = LN_post(X_L)[patches] proj

The network as it was trained; patch tokens are projected like the class token. In the published tables this is
`LastBlock` with residual and FFN. Official code: github.com/openai/CLIP (which reads the class token only).
"""

from ..registry import ATTENTION
from ..towers.attention import Attention, softmax
from ..towers.trace import QKV


@ATTENTION.register_module()
def qk(t: QKV) -> Attention:
    """softmax(q kᵀ/√d), as trained."""
    return softmax(t.q, t.k, t.scale)
