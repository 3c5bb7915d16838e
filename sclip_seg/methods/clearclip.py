"""ClearCLIP (Lan et al., ECCV 2024, arXiv 2407.12442): q-q attention, no residual, no FFN.

    A = softmax(q qᵀ / √d),   F = LN_post(W_o(A v) + b_o) proj

Official code: github.com/mc-lan/ClearCLIP (`open_clip/transformer.py`). Its shipped `configs/base_config.py` selects
q-k attention instead (ADE20K 9.1 in place of 16.7); followed here is the paper's method. One flag there couples
residual and FFN; here each has its own (`LastBlock(residual=, mlp=)`), as the paper's ablation needs, and the
residual-scaling figure X + α·MHA is `attention_scale`.
"""

from typing import Literal

from ..errors import InputError
from ..registry import ATTENTION
from ..towers.attention import Attention, given, softmax
from ..towers.trace import QKV


@ATTENTION.register_module()
def qq(t: QKV) -> Attention:
    """softmax(q qᵀ/√d)"""
    return softmax(t.q, t.q, t.scale)


@ATTENTION.register_module()
def kk(t: QKV) -> Attention:
    """softmax(k kᵀ/√d)"""
    return softmax(t.k, t.k, t.scale)


@ATTENTION.register_module()
def vv(t: QKV) -> Attention:
    """softmax(v vᵀ/√d)"""
    return softmax(t.v, t.v, t.scale)


@ATTENTION.register_module()
def combination(
    t: QKV, of: tuple[str | dict, ...] = ("qq", "kk", "vv"), reduce: Literal["sum", "mean"] = "sum"
) -> Attention:
    """Sum or mean of several attentions, each a name or dict of `ATTENTION`: any of the ablations, from a config."""
    if not of:
        raise InputError("combination needs at least one map, e.g. of=['qq', 'kk']")
    maps = [ATTENTION.build(one)(t) for one in of]
    total = sum(one if isinstance(one, Attention) else given(one) for one in maps)
    return total / len(maps) if reduce == "mean" else total
