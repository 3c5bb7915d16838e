"""transformers' networks that find masks, so small that a test may build them, with random weights that show."""

from pathlib import Path

import torch
import transformers as hf

SIZE = 64  # of the square that a picture is brought to
CLASSES = 7
SWIN = dict(image_size=SIZE, patch_size=4, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2)
OUT = dict(out_features=["stage1", "stage2", "stage3", "stage4"])


def mask2former() -> torch.nn.Module:
    """Mask2Former of ten queries."""
    sizes = dict(feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=48, dim_feedforward=48)
    sizes |= dict(encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=10, num_labels=CLASSES)
    backbone = hf.SwinConfig(**SWIN, **OUT)
    return hf.Mask2FormerForUniversalSegmentation(hf.Mask2FormerConfig(backbone_config=backbone, **sizes))


def maskformer() -> torch.nn.Module:
    """MaskFormer of ten queries."""
    decoder = hf.DetrConfig(
        **dict(d_model=32, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=48, num_queries=10),
        **dict(encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=48, use_pretrained_backbone=False),
    )
    backbone = hf.SwinConfig(**SWIN, **OUT)
    sizes = dict(fpn_feature_size=32, mask_feature_size=32, num_labels=CLASSES)
    return hf.MaskFormerForInstanceSegmentation(
        hf.MaskFormerConfig(backbone_config=backbone, decoder_config=decoder, **sizes)
    )


def eomt() -> torch.nn.Module:
    """EoMT of six queries."""
    sizes = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, num_blocks=2, num_queries=6)
    sizes |= dict(image_size=SIZE, patch_size=16, num_register_tokens=2, num_labels=CLASSES)
    return hf.EomtForUniversalSegmentation(hf.EomtConfig(**sizes))


def sam2() -> torch.nn.Module:
    """SAM 2 of a square of 128 pixels."""
    side = 128
    trunk = hf.Sam2HieraDetConfig(
        **dict(hidden_size=16, num_attention_heads=1, image_size=[side, side], global_attention_blocks=[3]),
        **dict(blocks_per_stage=[1, 1, 2, 1], num_attention_heads_per_stage=[1, 1, 2, 2]),
        embed_dim_per_stage=[16, 32, 64, 128],
        **dict(window_size_per_stage=[4, 2, 4, 2], window_positional_embedding_background_size=[2, 2]),
    )
    vision = hf.Sam2VisionConfig(
        **dict(backbone_config=trunk, backbone_channel_list=[128, 64, 32, 16], fpn_hidden_size=32),
        backbone_feature_sizes=[[side // 4] * 2, [side // 8] * 2, [side // 16] * 2],
    )
    prompts = dict(hidden_size=32, image_size=side, patch_size=16)
    masks = dict(hidden_size=32, mlp_dim=48, num_attention_heads=2, iou_head_hidden_dim=32)
    config = hf.Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=masks)
    return hf.Sam2Model(config)


MADE = {
    "mask2former": (mask2former, "Mask2FormerImageProcessor", dict(size=dict(height=SIZE, width=SIZE))),
    "maskformer": (maskformer, "MaskFormerImageProcessor", dict(size=dict(height=SIZE, width=SIZE))),
    "eomt": (eomt, "EomtImageProcessor", dict(size=dict(shortest_edge=SIZE, longest_edge=SIZE), do_pad=True)),
    "sam2": (sam2, "Sam2ImageProcessor", dict(size=dict(height=128, width=128), mask_size=dict(height=32, width=32))),
}


def write(name: str, folder: Path) -> str:
    """The folder of a checkpoint of that kind."""
    make, processor, settings = MADE[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make().eval()
        for parameter_name, parameter in sorted(model.named_parameters()):
            middle = 1.0 if "norm" in parameter_name and parameter_name.endswith("weight") else 0.0
            parameter.data = middle + 0.3 * torch.randn_like(parameter)
            if parameter_name == "class_predictor.bias":
                parameter.data[-1] -= 9  # of no object
    model.save_pretrained(folder)
    getattr(hf, processor)(**settings).save_pretrained(folder)
    return str(folder)
