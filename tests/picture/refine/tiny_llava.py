"""A random model that answers about pictures, of a few kilobytes, with its processor."""

from pathlib import Path

import torch


def write(folder: Path, words: list[str]) -> Path:
    """LLaVA of one layer over CLIP of two, and a tokenizer of these words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    special = ["<pad>", "<s>", "</s>", "<unk>", "<image>"]
    vocabulary = {word: number for number, word in enumerate([*special, "[", "]", ",", *words])}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), special, strict=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, additional_special_tokens=["<image>"], **names)
    part = "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }}{% endif %}"
    template = f"{{% for m in messages %}}{{% for c in m['content'] %}}{part}{{% endfor %}}{{% endfor %}}"
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    settings = dict(patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1)
    LlavaProcessor(images, tokenizer, chat_template=template, **settings).save_pretrained(folder)
    sizes = dict(hidden_size=16, intermediate_size=16, num_attention_heads=2)
    vision = CLIPVisionConfig(num_hidden_layers=2, image_size=16, patch_size=8, projection_dim=16, **sizes)
    ends = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
    text = LlamaConfig(vocab_size=len(vocabulary), num_hidden_layers=1, num_key_value_heads=2, **sizes, **ends)
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_index=vocabulary["<image>"])
    )
    model.save_pretrained(folder)
    return folder
