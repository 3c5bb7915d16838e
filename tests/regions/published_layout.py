"""transformers' networks as detectron2's checkpoints have them: the names of zsseg's and SCAN's files, by hand."""

import re

import torch
import transformers as hf
from torch import Tensor, nn

HEADS = 8


def shaken(model: nn.Module) -> nn.Module:
    """With weights that show, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for name, parameter in sorted(model.named_parameters()):
            middle = 1.0 if ("norm" in name or ".bn" in name) and name.endswith("weight") else 0.0
            parameter.data = middle + 0.05 * torch.randn_like(parameter)
        for name, buffer in sorted(model.named_buffers()):
            if "running_" in name:
                buffer.copy_(0.1 * torch.randn_like(buffer) + float("var" in name)).abs_()
    return model.eval()


def maskformer() -> nn.Module:
    """Of a ResNet-50 with the deep stem, whose last stage is dilated as published."""
    decoder = hf.DetrConfig(
        **dict(d_model=64, decoder_layers=2, decoder_attention_heads=HEADS, decoder_ffn_dim=48, num_queries=12),
        **dict(dropout=0.0, encoder_layers=0, encoder_attention_heads=HEADS, use_pretrained_backbone=False),
    )
    trunk = hf.TimmBackboneConfig(backbone="resnet50s", out_indices=(1, 2, 3, 4), use_pretrained_backbone=False)
    sizes = dict(fpn_feature_size=32, mask_feature_size=32, num_labels=3)
    model = shaken(
        hf.MaskFormerForInstanceSegmentation(
            hf.MaskFormerConfig(backbone_config=trunk, decoder_config=decoder, **sizes)
        )
    )
    for block, dilation in zip(model.model.pixel_level_module.encoder._backbone.layer4, (1, 2, 4), strict=True):
        block.conv2.dilation = block.conv2.padding = (dilation, dilation)
    return model


def mask2former() -> nn.Module:
    """Of a tiny Swin, two layers a decoder."""
    swin = dict(image_size=64, patch_size=4, embed_dim=16, depths=[1, 1, 2, 1], num_heads=[1, 2, 2, 4], window_size=4)
    sizes = dict(feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=48, dim_feedforward=40)
    sizes |= dict(encoder_layers=2, decoder_layers=4, num_attention_heads=2, num_queries=10, num_labels=3, dropout=0.0)
    trunk = hf.SwinConfig(**swin, out_features=["stage1", "stage2", "stage3", "stage4"])
    return shaken(hf.Mask2FormerForUniversalSegmentation(hf.Mask2FormerConfig(backbone_config=trunk, **sizes)))


def joined(state: dict[str, Tensor], names: tuple[str, ...], whole: str) -> dict[str, Tensor]:
    """With q, k and v of each stem, `names` with `(.*)` for it, as one tensor `whole`."""
    found = dict(state)
    first = re.compile(names[0])
    for name in state:
        if match := first.fullmatch(name):
            stem = match[1]
            parts = [
                found.pop(one.replace("(.*)", stem, 1).replace("\\", "").replace("(weight|bias)", match[2]))
                for one in names
            ]
            found[whole.format(stem, match[2])] = torch.cat(parts)
    return found


def named(state: dict[str, Tensor], table: list[tuple[str, str]]) -> dict[str, Tensor]:
    """By the first pattern of the table that a name has."""
    found = {}
    for name, tensor in state.items():
        new = next(re.sub(old, new, name) for old, new in table if re.fullmatch(old, name))
        if new:
            found[new] = tensor
    return found


def zsseg(model: nn.Module, width: int = 24) -> dict[str, Tensor]:
    """The checkpoint of zsseg with this network."""
    queries, trunk = r"model\.transformer_module\.", r"model\.pixel_level_module\.encoder\._backbone\."
    decoder, head = r"model\.pixel_level_module\.decoder\.", "sem_seg_head.predictor."
    state = model.state_dict()
    for attention in ("self_attn", "encoder_attn"):
        names = tuple(rf"(.*)\.{attention}\.{part}_proj\.(weight|bias)" for part in "qkv")
        state = joined(state, names, "{}." + attention + ".in_proj_{}")
    layer, theirs = queries + r"decoder\.layers\.(\d)\.", head + r"transformer.decoder.layers.\1."
    pixels = "sem_seg_head.pixel_decoder."
    published = named(
        state,
        [
            (r".*num_batches_tracked|class_predictor.*", ""),  # its statistics are frozen, its classes texts
            (trunk + r"conv1\.(0|3|6)\.weight", r"backbone.stem.conv<\1>.weight"),
            (trunk + r"conv1\.(1|4)\.(.*)", r"backbone.stem.conv<\1>.norm.\2"),
            (trunk + r"bn1\.(.*)", r"backbone.stem.conv3.norm.\1"),
            (trunk + r"layer(\d)\.(\d)\.bn(\d)\.(.*)", r"backbone.res<\1>.\2.conv\3.norm.\4"),
            (trunk + r"layer(\d)\.(\d)\.conv(\d)\.(.*)", r"backbone.res<\1>.\2.conv\3.\4"),
            (trunk + r"layer(\d)\.(\d)\.downsample\.0\.(.*)", r"backbone.res<\1>.\2.shortcut.\3"),
            (trunk + r"layer(\d)\.(\d)\.downsample\.1\.(.*)", r"backbone.res<\1>.\2.shortcut.norm.\3"),
            (decoder + r"fpn\.stem\.0\.(.*)", pixels + r"layer_4.\1"),
            (decoder + r"fpn\.stem\.1\.(.*)", pixels + r"layer_4.norm.\1"),
            (decoder + r"fpn\.layers\.(\d)\.proj\.0\.(.*)", pixels + r"adapter_<-\1>.\2"),
            (decoder + r"fpn\.layers\.(\d)\.proj\.1\.(.*)", pixels + r"adapter_<-\1>.norm.\2"),
            (decoder + r"fpn\.layers\.(\d)\.block\.0\.(.*)", pixels + r"layer_<-\1>.\2"),
            (decoder + r"fpn\.layers\.(\d)\.block\.1\.(.*)", pixels + r"layer_<-\1>.norm.\2"),
            (decoder + r"mask_projection\.(.*)", pixels + r"mask_features.\1"),
            (layer + r"encoder_attn\.o(?:ut)?_proj\.(.*)", theirs + r"multihead_attn.out_proj.\2"),
            (layer + r"encoder_attn\.(.*)", theirs + r"multihead_attn.\2"),
            (layer + r"self_attn\.o(?:ut)?_proj\.(.*)", theirs + r"self_attn.out_proj.\2"),
            (layer + r"self_attn\.(.*)", theirs + r"self_attn.\2"),
            (layer + r"(?:mlp\.)?fc(\d)\.(.*)", theirs + r"linear\2.\3"),
            (layer + r"self_attn_layer_norm\.(.*)", theirs + r"norm1.\2"),
            (layer + r"encoder_attn_layer_norm\.(.*)", theirs + r"norm2.\2"),
            (layer + r"final_layer_norm\.(.*)", theirs + r"norm3.\2"),
            (queries + r"decoder\.layernorm\.(.*)", head + r"transformer.decoder.norm.\1"),
            (queries + r"queries_embedder\.(.*)", head + r"query_embed.\1"),
            (queries + r"input_projection\.(.*)", head + r"input_proj.\1"),
            (r"mask_embedder\.(\d)\.0\.(.*)", head + r"mask_embed.layers.\1.\2"),
            (r"criterion\.empty_weight", "criterion.empty_weight"),
        ],
    )
    stem = {"conv<0>": "conv1", "conv<3>": "conv2", "conv<6>": "conv3", "conv<1>": "conv1", "conv<4>": "conv2"}
    numbers = {f"res<{n}>": f"res{n + 1}" for n in range(1, 5)} | {f"_<-{n}>": f"_{3 - n}" for n in range(3)} | stem
    made = {}
    for name, tensor in published.items():
        for old, new in numbers.items():
            name = name.replace(old, new)
        made[name] = tensor
    return (
        made
        | classes(head, made[f"{head}query_embed.weight"].shape[1], width)
        | {
            "clip_adapter.non_object_embedding": torch.randn(1, width, generator=torch.Generator().manual_seed(2)),
            "clip_adapter.prompt_learner.prefix_prompt": torch.ones(16, width),
            "clip_adapter.prompt_learner.start_signal": torch.ones(1, width),
            "clip_adapter.clip_model.visual.proj": torch.ones(width, width),
            "clip_adapter.pixel_mean": torch.ones(1, 3, 1, 1),
        }
    )


def classes(head: str, hidden: int, width: int) -> dict[str, Tensor]:
    """The head's two layers."""
    source = torch.Generator().manual_seed(3)
    sizes = {"0.weight": (40, hidden), "0.bias": (40,), "1.weight": (width, 40), "1.bias": (width,)}
    return {f"{head}class_embed.layers.{name}": torch.randn(size, generator=source) for name, size in sizes.items()}


def scan(model: nn.Module, clip: dict[str, Tensor], integration: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    """The checkpoint of SCAN with this network, that CLIP twice, and its modules."""
    queries, head = r"model\.transformer_module\.", "sem_seg_head.predictor."
    trunk, decoder = r"model\.pixel_level_module\.encoder\.(?:swin\.)?", r"model\.pixel_level_module\.decoder\."
    state = model.state_dict()
    old = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}
    swin = {n: "self." + n for n in old} if any("attention.self.query" in name for name in state) else old
    names = tuple(rf"(.*)\.attention\.{name}\.(weight|bias)" for name in swin.values())
    state = joined(state, names, "{}.attn.qkv.{}")
    state = joined(
        state, tuple(rf"(.*)\.self_attn\.{part}_proj\.(weight|bias)" for part in "qkv"), "{}.self_attn.in_proj_{}"
    )
    block, theirs = trunk + r"encoder\.layers\.(\d)\.blocks\.(\d)\.", r"backbone.layers.\1.blocks.\2."
    layer, ours = decoder + r"encoder\.layers\.(\d)\.", r"sem_seg_head.pixel_decoder.transformer.encoder.layers.\1."
    deep, pixels = queries + r"decoder\.layers\.(\d)\.", "sem_seg_head.pixel_decoder."
    made = named(
        state,
        [
            (r"class_predictor.*|" + trunk + r"layernorm\..*", ""),
            (trunk + r"embeddings\.patch_embeddings\.projection\.(.*)", r"backbone.patch_embed.proj.\1"),
            (trunk + r"embeddings\.norm\.(.*)", r"backbone.patch_embed.norm.\1"),
            (block + r"attn\.(.*)", theirs + r"attn.\3"),
            (block + r"attention\.(?:output\.dense|o_proj)\.(.*)", theirs + r"attn.proj.\3"),
            (block + r"attention\..*relative_position_bias_table", theirs + "attn.relative_position_bias_table"),
            (block + r"layernorm_before\.(.*)", theirs + r"norm1.\3"),
            (block + r"layernorm_after\.(.*)", theirs + r"norm2.\3"),
            (block + r"(?:mlp\.fc1|intermediate\.dense)\.(.*)", theirs + r"mlp.fc1.\3"),
            (block + r"(?:mlp\.fc2|output\.dense)\.(.*)", theirs + r"mlp.fc2.\3"),
            (trunk + r"encoder\.layers\.(\d)\.downsample\.(.*)", r"backbone.layers.\1.downsample.\2"),
            (trunk + r"hidden_states_norms\.stage(\d)\.(.*)", r"backbone.norm<\1>.\2"),
            (decoder + r"input_projections\.(.*)", pixels + r"input_proj.\1"),
            (decoder + r"level_embed", pixels + "transformer.level_embed"),
            (layer + r"self_attn\.(.*)", ours + r"self_attn.\2"),
            (layer + r"self_attn_layer_norm\.(.*)", ours + r"norm1.\2"),
            (layer + r"final_layer_norm\.(.*)", ours + r"norm2.\2"),
            (layer + r"(?:mlp\.)?fc(\d)\.(.*)", ours + r"linear\2.\3"),
            (decoder + r"mask_projection\.(.*)", pixels + r"mask_features.\1"),
            (decoder + r"(adapter|layer)_1\.0\.(.*)", pixels + r"\1_1.\2"),
            (decoder + r"(adapter|layer)_1\.1\.(.*)", pixels + r"\1_1.norm.\2"),
            (queries + r"queries_embedder\.(.*)", head + r"query_embed.\1"),
            (queries + r"queries_features\.(.*)", head + r"query_feat.\1"),
            (queries + r"level_embed\.(.*)", head + r"level_embed.\1"),
            (deep + r"self_attn_layer_norm\.(.*)", head + r"transformer_self_attention_layers.\1.norm.\2"),
            (deep + r"self_attn\.(.*)", head + r"transformer_self_attention_layers.\1.self_attn.\2"),
            (deep + r"cross_attn_layer_norm\.(.*)", head + r"transformer_cross_attention_layers.\1.norm.\2"),
            (deep + r"cross_attn\.(.*)", head + r"transformer_cross_attention_layers.\1.multihead_attn.\2"),
            (deep + r"(?:mlp\.)?fc(\d)\.(.*)", head + r"transformer_ffn_layers.\1.linear\2.\3"),
            (deep + r"final_layer_norm\.(.*)", head + r"transformer_ffn_layers.\1.norm.\2"),
            (queries + r"decoder\.layernorm\.(.*)", head + r"decoder_norm.\1"),
            (queries + r"decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.(.*)", head + r"mask_embed.layers.\1.\2"),
            (r"criterion\.empty_weight", "criterion.empty_weight"),
        ],
    )
    made = {re.sub(r"norm<(\d)>", lambda m: f"norm{int(m[1]) - 1}", name): tensor for name, tensor in made.items()}
    made |= {f"clip_adapter.clip_model.{name}": tensor for name, tensor in clip.items()}
    seen = {name: tensor + 0.01 for name, tensor in clip.items() if name.startswith("visual.")}
    made |= {f"clip_adapter.original_clip.{name.removeprefix('visual.')}": tensor for name, tensor in seen.items()}
    made |= {"learnable_weight" if name == "weight" else name: tensor for name, tensor in integration.items()}
    void = torch.randn(1, width, generator=torch.Generator().manual_seed(2))
    index = {"backbone.layers.0.blocks.0.attn.relative_position_index": torch.zeros(16, 16, dtype=torch.long)}
    return made | classes(head, 32, width) | {"clip_adapter.non_object_embedding": void} | index
