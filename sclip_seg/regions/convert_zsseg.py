"""The work of `sclip-seg convert-zsseg`: published names into those of transformers' MaskFormer."""

from itertools import product
from pathlib import Path

from ..errors import InputError
from . import published
from .published import DECODER, ENCODER, QUERIES, Rules, numbered, qkv, shape_of

WHAT = "checkpoint of zsseg's MaskFormer"
TRUNK = f"{ENCODER}._backbone"
NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
HEADS = 8  # which no weight says
MULTI_GRID = (1, 2, 4)  # of the last stage, where the stem is the deep one
BLOCKS = {(3, 4, 6, 3): "resnet50", (3, 4, 23, 3): "resnet101"}  # timm's names; with `s` of the deep stem
LAYER, PIXELS = r"sem_seg_head\.predictor\.transformer\.decoder\.layers\.(\d+)", r"sem_seg_head\.pixel_decoder"
PREDICTOR = r"sem_seg_head\.predictor"
OURS = f"{QUERIES}.decoder.layers"

STEM = (
    (r"backbone\.stem\.conv1\.weight", (f"{TRUNK}.conv1.weight",)),
    (rf"backbone\.stem\.conv1\.norm\.{NORM}", (rf"{TRUNK}.bn1.\1",)),
)
DEEP_STEM = tuple(
    rule
    for conv, norm, n in (("conv1.0", "conv1.1", 1), ("conv1.3", "conv1.4", 2), ("conv1.6", "bn1", 3))
    for rule in (
        (rf"backbone\.stem\.conv{n}\.weight", (f"{TRUNK}.{conv}.weight",)),
        (rf"backbone\.stem\.conv{n}\.norm\.{NORM}", (rf"{TRUNK}.{norm}.\1",)),
    )
)
STAGES = numbered(
    (
        (r"backbone\.res{}\.(\d+)\.conv(\d)\.weight", TRUNK + r".layer{}.\1.conv\2.weight"),
        (r"backbone\.res{}\.(\d+)\.conv(\d)\.norm\." + NORM, TRUNK + r".layer{}.\1.bn\2.\3"),
        (r"backbone\.res{}\.(\d+)\.shortcut\.weight", TRUNK + r".layer{}.\1.downsample.0.weight"),
        (r"backbone\.res{}\.(\d+)\.shortcut\.norm\." + NORM, TRUNK + r".layer{}.\1.downsample.1.\2"),
    ),
    range(2, 6),
    shift=-1,
)
PYRAMID = (
    (rf"{PIXELS}\.layer_4\.weight", (f"{DECODER}.fpn.stem.0.weight",)),
    (rf"{PIXELS}\.layer_4\.norm\.(weight|bias)", (rf"{DECODER}.fpn.stem.1.\1",)),
    (rf"{PIXELS}\.mask_features\.(weight|bias)", (rf"{DECODER}.mask_projection.\1",)),
    *(
        rule
        for n, (theirs, ours) in product((1, 2, 3), (("adapter", "proj"), ("layer", "block")))
        for rule in (
            (rf"{PIXELS}\.{theirs}_{n}\.weight", (f"{DECODER}.fpn.layers.{3 - n}.{ours}.0.weight",)),
            (rf"{PIXELS}\.{theirs}_{n}\.norm\.(weight|bias)", (rf"{DECODER}.fpn.layers.{3 - n}.{ours}.1.\1",)),
        )
    ),
)
DECODING = (
    (rf"{LAYER}\.self_attn\.in_proj_(weight|bias)", qkv(OURS + r".\1.self_attn.{}_proj.\2")),
    (rf"{LAYER}\.multihead_attn\.in_proj_(weight|bias)", qkv(OURS + r".\1.encoder_attn.{}_proj.\2")),
    (rf"{LAYER}\.self_attn\.out_proj\.(weight|bias)", (OURS + r".\1.self_attn.out_proj.\2",)),
    (rf"{LAYER}\.multihead_attn\.out_proj\.(weight|bias)", (OURS + r".\1.encoder_attn.out_proj.\2",)),
    (rf"{LAYER}\.linear([12])\.(weight|bias)", (OURS + r".\1.fc\2.\3",)),
    (rf"{LAYER}\.norm1\.(weight|bias)", (OURS + r".\1.self_attn_layer_norm.\2",)),
    (rf"{LAYER}\.norm2\.(weight|bias)", (OURS + r".\1.encoder_attn_layer_norm.\2",)),
    (rf"{LAYER}\.norm3\.(weight|bias)", (OURS + r".\1.final_layer_norm.\2",)),
    (rf"{PREDICTOR}\.transformer\.decoder\.norm\.(weight|bias)", (QUERIES + r".decoder.layernorm.\1",)),
    (rf"{PREDICTOR}\.query_embed\.weight", (f"{QUERIES}.queries_embedder.weight",)),
    (rf"{PREDICTOR}\.input_proj\.(weight|bias)", (QUERIES + r".input_projection.\1",)),
    (rf"{PREDICTOR}\.mask_embed\.layers\.(\d)\.(weight|bias)", (r"mask_embedder.\1.0.\2",)),
    (rf"{PREDICTOR}\.class_embed\.layers\.(\d)\.(weight|bias)", (r"head:layers.\1.\2",)),
)
ADAPTER = (
    (r"clip_adapter\.non_object_embedding", ("head:void",)),
    (r"clip_adapter\.prompt_learner\.(prefix|suffix)_prompt", (r"prompt:\1",)),
    (r"_region_clip_adapter\.prompt_learner\.(prefix|suffix)_prompt", (r"prompt:region_\1",)),
    (r"(clip|_region_clip)_adapter\.clip_model\..*", ()),
    (r"(clip|_region_clip)_adapter\.prompt_learner\.(start|dot|end|pad)_signal", ()),  # of CLIP's own tokens
)
RULES: Rules = STAGES + PYRAMID + DECODING + ADAPTER + published.ASIDE


def convert(path: str, folder: Path, short: int, long: int) -> None:
    """Writes the folder. Raises InputError for a checkpoint of something else."""
    state = published.read(path)
    stem = DEEP_STEM if "backbone.stem.conv2.weight" in state else STEM
    parts = published.renamed(state, RULES + stem, WHAT)
    weights = parts.pop("model", {})
    config = config_of(weights, deep=stem is DEEP_STEM)
    weights |= published.classless(config.decoder_config.d_model)
    own = r"criterion\.empty_weight|.*\.num_batches_tracked"  # frozen statistics were not counted
    model = published.network("MaskFormerForInstanceSegmentation", config, weights, own, WHAT)
    if "void" not in parts.get("head", {}):
        raise InputError(f"this is no {WHAT}: clip_adapter.non_object_embedding is missing")
    published.write(folder, model, published.preparation("MaskFormerImageProcessor", short, long), parts)
    beside = ", ".join(f"{part}.safetensors" for part in parts)
    print(f"{len(state)} tensors read from {path}; {folder} is a checkpoint of maskformer, with {beside} beside it")


def config_of(state: published.State, deep: bool) -> object:
    """transformers' config of a network with these weights."""
    import transformers

    blocks = tuple(published.count(state, f"{TRUNK}.layer{stage}") for stage in (1, 2, 3, 4))
    if blocks not in BLOCKS:
        raise InputError(f"this is no {WHAT}: its trunk of {blocks} blocks is no ResNet-50 or 101")
    trunk = dict(backbone=BLOCKS[blocks] + "s" * deep, out_indices=(1, 2, 3, 4), use_pretrained_backbone=False)
    queries, width = shape_of(state, f"{QUERIES}.queries_embedder.weight", WHAT)
    decoder = transformers.DetrConfig(
        **dict(d_model=width, num_queries=queries, dropout=0.0, use_pretrained_backbone=False),
        **dict(decoder_layers=published.count(state, OURS), decoder_attention_heads=HEADS),
        decoder_ffn_dim=shape_of(state, f"{OURS}.0.fc1.weight", WHAT)[0],
        **dict(encoder_layers=0, encoder_attention_heads=HEADS),
    )
    masks, features = shape_of(state, f"{DECODER}.mask_projection.weight", WHAT)[:2]
    config = transformers.MaskFormerConfig(
        backbone_config=transformers.TimmBackboneConfig(**trunk),
        **dict(decoder_config=decoder, fpn_feature_size=features, mask_feature_size=masks, num_labels=1),
    )
    config.padded_to, config.multi_grid = published.UNIT, list(MULTI_GRID) if deep else None
    return config
