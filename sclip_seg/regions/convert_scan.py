"""The work of `sclip-seg convert-scan`: published names into those of transformers' Mask2Former."""

import math
from pathlib import Path

from ..errors import InputError
from . import published
from .published import DECODER, ENCODER, QUERIES, Rules, numbered, qkv, shape_of

WHAT = "checkpoint of SCAN"
BLOCK, PIXELS = r"backbone\.layers\.(\d+)\.blocks\.(\d+)", r"sem_seg_head\.pixel_decoder"
PREDICTOR = r"sem_seg_head\.predictor"
SWIN = rf"{ENCODER}.encoder.layers.\1.blocks.\2"
LAYERS, POINTS = 3, 4  # of the deformable attention, which are fixed
NAMES = ("query", "key", "value")

TRUNK = (
    (r"backbone\.patch_embed\.proj\.(weight|bias)", (rf"{ENCODER}.embeddings.patch_embeddings.projection.\1",)),
    (r"backbone\.patch_embed\.norm\.(weight|bias)", (rf"{ENCODER}.embeddings.norm.\1",)),
    (rf"{BLOCK}\.norm1\.(weight|bias)", (rf"{SWIN}.layernorm_before.\3",)),
    (rf"{BLOCK}\.norm2\.(weight|bias)", (rf"{SWIN}.layernorm_after.\3",)),
    (rf"{BLOCK}\.attn\.relative_position_bias_table", (f"{SWIN}.attention.self.relative_position_bias_table",)),
    (rf"{BLOCK}\.attn\.relative_position_index", ()),
    (rf"{BLOCK}\.attn\.qkv\.(weight|bias)", tuple(rf"{SWIN}.attention.self.{name}.\3" for name in NAMES)),
    (rf"{BLOCK}\.attn\.proj\.(weight|bias)", (rf"{SWIN}.attention.output.dense.\3",)),
    (rf"{BLOCK}\.mlp\.fc1\.(weight|bias)", (rf"{SWIN}.intermediate.dense.\3",)),
    (rf"{BLOCK}\.mlp\.fc2\.(weight|bias)", (rf"{SWIN}.output.dense.\3",)),
    (r"backbone\.layers\.(\d+)\.downsample\.(.*)", (rf"{ENCODER}.encoder.layers.\1.downsample.\2",)),
    *numbered([(r"backbone\.norm{}\.(weight|bias)", ENCODER + r".hidden_states_norms.stage{}.\1")], range(4), shift=1),
)
DEFORMABLE = (
    (rf"{PIXELS}\.input_proj\.(\d)\.([01])\.(weight|bias)", (rf"{DECODER}.input_projections.\1.\2.\3",)),
    (rf"{PIXELS}\.transformer\.level_embed", (f"{DECODER}.level_embed",)),
    (
        rf"{PIXELS}\.transformer\.encoder\.layers\.(\d+)\.self_attn\.(\w+)\.(weight|bias)",
        (rf"{DECODER}.encoder.layers.\1.self_attn.\2.\3",),
    ),
    *(
        (rf"{PIXELS}\.transformer\.encoder\.layers\.(\d+)\.{old}\.(weight|bias)", (new,))
        for old, new in (
            ("norm1", rf"{DECODER}.encoder.layers.\1.self_attn_layer_norm.\2"),
            ("norm2", rf"{DECODER}.encoder.layers.\1.final_layer_norm.\2"),
            ("linear1", rf"{DECODER}.encoder.layers.\1.fc1.\2"),
            ("linear2", rf"{DECODER}.encoder.layers.\1.fc2.\2"),
        )
    ),
    (rf"{PIXELS}\.mask_features\.(weight|bias)", (rf"{DECODER}.mask_projection.\1",)),
    (rf"{PIXELS}\.(adapter|layer)_1\.weight", (rf"{DECODER}.\1_1.0.weight",)),
    (rf"{PIXELS}\.(adapter|layer)_1\.norm\.(weight|bias)", (rf"{DECODER}.\1_1.1.\2",)),
)
OURS = rf"{QUERIES}.decoder.layers.\1"
SELF, CROSS, FORWARD = (
    rf"{PREDICTOR}\.transformer_{kind}_layers\.(\d+)" for kind in ("self_attention", "cross_attention", "ffn")
)
DECODING = (
    (rf"{SELF}\.self_attn\.in_proj_(weight|bias)", qkv(OURS + r".self_attn.{}_proj.\2")),
    (rf"{SELF}\.self_attn\.out_proj\.(weight|bias)", (rf"{OURS}.self_attn.out_proj.\2",)),
    (rf"{SELF}\.norm\.(weight|bias)", (rf"{OURS}.self_attn_layer_norm.\2",)),
    (
        rf"{CROSS}\.multihead_attn\.(in_proj_weight|in_proj_bias|out_proj\.weight|out_proj\.bias)",
        (rf"{OURS}.cross_attn.\2",),
    ),
    (rf"{CROSS}\.norm\.(weight|bias)", (rf"{OURS}.cross_attn_layer_norm.\2",)),
    (rf"{FORWARD}\.linear([12])\.(weight|bias)", (rf"{OURS}.fc\2.\3",)),
    (rf"{FORWARD}\.norm\.(weight|bias)", (rf"{OURS}.final_layer_norm.\2",)),
    (rf"{PREDICTOR}\.decoder_norm\.(weight|bias)", (rf"{QUERIES}.decoder.layernorm.\1",)),
    (rf"{PREDICTOR}\.query_embed\.weight", (f"{QUERIES}.queries_embedder.weight",)),
    (rf"{PREDICTOR}\.(query_feat|static_query)\.weight", (f"{QUERIES}.queries_features.weight",)),
    (rf"{PREDICTOR}\.level_embed\.weight", (f"{QUERIES}.level_embed.weight",)),
    (
        rf"{PREDICTOR}\.mask_embed\.layers\.(\d)\.(weight|bias)",
        (rf"{QUERIES}.decoder.mask_predictor.mask_embedder.\1.0.\2",),
    ),
    (rf"{PREDICTOR}\.class_embed\.layers\.(\d)\.(weight|bias)", (r"head:layers.\1.\2",)),
)
ADAPTER = (
    (r"clip_adapter\.non_object_embedding", ("head:void",)),
    (r"clip_adapter\.clip_model\.(.*)", (r"clip:\1",)),
    (r"clip_adapter\.original_clip\.(.*)", (r"original:visual.\1",)),
    (r"learnable_weight", ("integration:weight",)),
    (r"(LFM|fusion_decoder|oriclip_mlp|lightweight_transformer)\.(.*)", (r"integration:\1.\2",)),
)
RULES: Rules = TRUNK + DEFORMABLE + DECODING + ADAPTER + published.ASIDE


def convert(path: str, folder: Path, short: int, long: int) -> None:
    """Writes the folder. Raises InputError for a checkpoint of something else."""
    from .integration import SemanticIntegration

    state = published.read(path)
    parts = published.renamed(state, RULES, WHAT)
    weights = parts.pop("model", {})
    config = config_of(weights)
    weights |= published.classless(config.hidden_dim)
    own = r"criterion\.empty_weight|.*\.encoder\.(swin\.)?layernorm\.(weight|bias)"  # of a stage that nobody reads
    model = published.network("Mask2FormerForUniversalSegmentation", config, weights, own, WHAT)
    if missing := {"head", "clip", "original", "integration"} - parts.keys():
        raise InputError(f"this is no {WHAT}: its {sorted(missing)[0]} is missing")
    SemanticIntegration.of(parts["integration"])
    words = {name: tensor for name, tensor in parts["clip"].items() if not name.startswith("visual.")}
    parts["original"] |= words  # a whole model, which a tower is loaded from
    published.write(folder, model, published.preparation("Mask2FormerImageProcessor", short, long), parts)
    beside = ", ".join(f"{part}.safetensors" for part in parts)
    print(f"{len(state)} tensors read from {path}; {folder} is a checkpoint of mask2former, with {beside} beside it")


def config_of(state: published.State) -> object:
    """transformers' config of a network with these weights."""
    import transformers

    stages = range(published.count(state, f"{ENCODER}.encoder.layers"))
    first = [f"{ENCODER}.encoder.layers.{stage}.blocks" for stage in stages]
    tables = [shape_of(state, f"{one}.0.attention.self.relative_position_bias_table", WHAT) for one in first]
    if not tables:
        raise InputError(f"this is no {WHAT}: it has no trunk")
    width, _, patch, _ = shape_of(state, f"{ENCODER}.embeddings.patch_embeddings.projection.weight", WHAT)
    trunk = transformers.SwinConfig(
        **dict(image_size=384, patch_size=patch, embed_dim=width, window_size=(math.isqrt(tables[0][0]) + 1) // 2),
        **dict(depths=[published.count(state, one) for one in first], num_heads=[table[1] for table in tables]),
        mlp_ratio=shape_of(state, f"{first[0]}.0.intermediate.dense.weight", WHAT)[0] / width,
        out_features=[f"stage{stage + 1}" for stage in stages],
    )
    queries, hidden = shape_of(state, f"{QUERIES}.queries_embedder.weight", WHAT)
    masks, features = shape_of(state, f"{DECODER}.mask_projection.weight", WHAT)[:2]
    deformable = shape_of(state, f"{DECODER}.encoder.layers.0.self_attn.attention_weights.weight", WHAT)[0]
    config = transformers.Mask2FormerConfig(
        **dict(backbone_config=trunk, feature_size=features, mask_feature_size=masks, hidden_dim=hidden, dropout=0.0),
        **dict(num_queries=queries, num_labels=1, num_attention_heads=deformable // (LAYERS * POINTS)),
        encoder_layers=published.count(state, f"{DECODER}.encoder.layers"),
        encoder_feedforward_dim=shape_of(state, f"{DECODER}.encoder.layers.0.fc1.weight", WHAT)[0],
        decoder_layers=published.count(state, f"{QUERIES}.decoder.layers") + 1,  # one is the queries' own prediction
        dim_feedforward=shape_of(state, f"{QUERIES}.decoder.layers.0.fc1.weight", WHAT)[0],
    )
    config.padded_to = published.UNIT
    return config
