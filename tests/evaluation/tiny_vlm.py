"""A vision-language model of random weights in a folder, as a user's own would be: LLaVA's layout, bytes as tokens."""

from __future__ import annotations

from pathlib import Path

import torch


def write_tiny_vlm(folder: Path, positions: int = 4096) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    words = ["<pad>", "<s>", "</s>", "<image>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    bytes_ = Tokenizer(models.BPE(vocab={word: at for at, word in enumerate(words)}, merges=[], unk_token="<unk>"))
    bytes_.pre_tokenizer, bytes_.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    vision = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
                              image_size=32, patch_size=16, projection_dim=16)  # fmt: skip
    text = LlamaConfig(vocab_size=len(words), hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                       num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=positions,
                       bos_token_id=1, eos_token_id=2, pad_token_id=0)  # fmt: skip
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(LlavaConfig(
            vision_config=vision, text_config=text, image_token_index=3, image_seq_length=4, vision_feature_layer=-1,
        ))  # fmt: skip
    model.save_pretrained(folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer=tokenizer, patch_size=16, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template="{% for message in messages %}{% for part in message['content'] %}"
                      "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
                      "{% endfor %}{% endfor %}\n",
    ).save_pretrained(folder)  # fmt: skip
    return folder
