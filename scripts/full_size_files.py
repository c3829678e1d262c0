#!/usr/bin/env python3
"""Writes full-size files with seeded random weights: `{dim}_llm.pth`, as the original's training script saves it, and a folder like
`clip-vit-base-patch32`. Runs on the Python of the torch wheel.
usage: full_size_files.py OUT [--dim 512 --n_layers 8] [--clip_layers 12] [--with_projection]"""
import argparse
import collections
import json
import math
import pathlib
import struct

import torch


def projection(dim, width=768):
    """The parameters that a vision checkpoint has and a language model lacks."""
    bound = 1 / math.sqrt(width)
    at = "vision_proj.vision_proj.0."
    return {at + "weight": torch.empty(dim, width).uniform_(-bound, bound), at + "bias": torch.empty(dim).uniform_(-bound, bound)}


def language_model(dim, n_layers, n_heads=16, n_kv_heads=8, vocab=6400):
    """A state dict with the names, shapes and initialisation of the original; embedding and output share one storage."""
    inner = -(-int(2 * 4 * dim / 3) // 64) * 64
    kv = dim // n_heads * n_kv_heads
    deep = 0.02 / math.sqrt(2 * n_layers)

    def normal(rows, columns, std=0.02):
        return torch.randn(rows, columns) * std

    state = collections.OrderedDict()
    state["tok_embeddings.weight"] = normal(vocab, dim)
    for i in range(n_layers):
        at = f"layers.{i}."
        state[at + "attention.wq.weight"] = normal(dim, dim)
        state[at + "attention.wk.weight"] = normal(kv, dim)
        state[at + "attention.wv.weight"] = normal(kv, dim)
        state[at + "attention.wo.weight"] = normal(dim, dim, deep)
        state[at + "attention_norm.weight"] = torch.ones(dim)
        state[at + "ffn_norm.weight"] = torch.ones(dim)
        state[at + "feed_forward.w1.weight"] = normal(inner, dim)
        state[at + "feed_forward.w2.weight"] = normal(dim, inner)
        state[at + "feed_forward.w3.weight"] = normal(inner, dim, deep)
    state["norm.weight"] = torch.ones(dim)
    state["output.weight"] = state["tok_embeddings.weight"]
    return state


def clip_vision(layers, width=768, inner=3072, patch=32, size=224):
    """The vision half of CLIP ViT-B/32; the scales keep differences between images alive through the layers."""
    state = collections.OrderedDict()
    at = "vision_model.embeddings."
    state[at + "class_embedding"] = torch.randn(width) * 0.02
    state[at + "patch_embedding.weight"] = torch.randn(width, 3, patch, patch) / math.sqrt(3 * patch * patch)
    state[at + "position_embedding.weight"] = torch.randn((size // patch) ** 2 + 1, width) * 0.02

    def norm(name):
        state[name + ".weight"], state[name + ".bias"] = torch.ones(width), torch.zeros(width)

    def linear(name, rows, columns):
        state[name + ".weight"], state[name + ".bias"] = torch.randn(rows, columns) / math.sqrt(columns), torch.zeros(rows)

    norm("vision_model.pre_layrnorm")
    for i in range(layers):
        at = f"vision_model.encoder.layers.{i}."
        norm(at + "layer_norm1")
        for part in "qkv":
            linear(at + f"self_attn.{part}_proj", width, width)
        linear(at + "self_attn.out_proj", width, width)
        norm(at + "layer_norm2")
        linear(at + "mlp.fc1", inner, width)
        linear(at + "mlp.fc2", width, inner)
    norm("vision_model.post_layernorm")
    config = dict(architectures=["CLIPVisionModel"], model_type="clip_vision_model", hidden_size=width, intermediate_size=inner,
                  num_hidden_layers=layers, num_attention_heads=width // 64, image_size=size, patch_size=patch, num_channels=3,
                  layer_norm_eps=1e-5, hidden_act="quick_gelu", attention_dropout=0.0)
    return state, config


def write_safetensors(path, state):
    header, offset = {}, 0
    for name, tensor in state.items():
        size = tensor.numel() * 4
        header[name] = dict(dtype="F32", shape=list(tensor.shape), data_offsets=[offset, offset + size])
        offset += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(head)) + head)
        for tensor in state.values():
            out.write(tensor.contiguous().view(torch.uint8).numpy().tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--n_layers", type=int, default=8)
    parser.add_argument("--clip_layers", type=int, default=12)
    parser.add_argument("--with_projection", action="store_true", help="write {dim}_vlm_sft.pth too")
    parser.add_argument("--seed", type=int, default=1337)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    clip_dir = arguments.out / "clip-vit-base-patch32"
    clip_dir.mkdir(parents=True, exist_ok=True)
    weights = language_model(arguments.dim, arguments.n_layers)
    torch.save(weights, arguments.out / f"{arguments.dim}_llm.pth")
    if arguments.with_projection:
        weights.update(projection(arguments.dim))
        torch.save(weights, arguments.out / f"{arguments.dim}_vlm_sft.pth")
    state, config = clip_vision(arguments.clip_layers)
    write_safetensors(clip_dir / "model.safetensors", state)
    (clip_dir / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"wrote {arguments.out}/{arguments.dim}_llm.pth and {clip_dir}/")


main()
