#!/usr/bin/env python3
"""The peer of the training benchmark: what a careful user would write in Python. A Llama model of the same shape and a CLIP ViT-B/32 in
`transformers`, random weights, batches trimmed to their longest sample, images encoded in one call, fused Adam, float32.
On a GPU bfloat16 by autocast, loader processes and pinned memory. --untrimmed works as the original does: every sample padded to 511 positions, images encoded one by one.
usage: train_peer.py DATA KIND [--batch_size 8 --steps 12 --warmup 3 --device cuda:0 --dtype bfloat16]; the last line is a JSON object."""
import argparse
import concurrent.futures
import functools
import json
import os
import pathlib
import resource
import sys
import time

import numpy

# Like ours: cuDNN's attention builds a plan for each new length. It must be set before torch is loaded.
CUDNN_ATTENTION = "--cudnn_attention" in sys.argv
if not CUDNN_ATTENTION:
    os.environ.setdefault("TORCH_CUDNN_SDPA_DEPRIORITIZED", "1")
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaModel

TOKENS, WIDTH = 50, 768
UNTRIMMED = 511
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


class Peer(torch.nn.Module):
    def __init__(self, dim, layers):
        super().__init__()
        inner = -(-int(2 * 4 * dim / 3) // 64) * 64
        self.lm = LlamaModel(LlamaConfig(vocab_size=6400, hidden_size=dim, num_hidden_layers=layers, num_attention_heads=16, num_key_value_heads=8,
                                         intermediate_size=inner, max_position_embeddings=1024, tie_word_embeddings=True, use_cache=False))
        self.projection = torch.nn.Linear(WIDTH, dim)

    def forward(self, ids, targets, mask, starts, features):
        embeddings = self.lm.embed_tokens(ids)
        projected = self.projection(features)
        rows = []
        for row, start in enumerate(starts):
            rows.append(torch.cat([embeddings[row, :start], projected[row], embeddings[row, start + TOKENS:]]))
        hidden = self.lm(inputs_embeds=torch.stack(rows)).last_hidden_state
        logits = hidden @ self.lm.embed_tokens.weight.t()
        loss = torch.nn.functional.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), reduction="none")
        return (loss * mask.view(-1)).sum() / mask.sum()


class Samples(torch.utils.data.Dataset):
    def __init__(self, folder, data_path):
        self.folder = folder
        self.samples = json.loads(data_path.read_text())
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.less, self.more = self.tokenizer.token_to_id("<"), self.tokenizer.token_to_id(">")

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        sample = self.samples[index]
        question, answer = (turn["value"] for turn in sample["conversations"])
        before, after = question.split("<image>")
        head = self.tokenizer.encode("<s>user\n" + before).ids
        ids = head + [self.less] * 25 + [self.more] * 25 + self.tokenizer.encode(after + "</s>\n<s>assistant").ids
        supervised = len(ids)
        ids += self.tokenizer.encode("\n" + answer + "</s>\n").ids
        image = Image.open(self.folder / "images" / sample["image"]).convert("RGB").resize((224, 224), Image.BICUBIC)
        pixels = (torch.from_numpy(numpy.array(image)).permute(2, 0, 1).float() / 255 - MEAN) / STD
        return ids, supervised, len(head), pixels


def collate(samples, length=None):
    longest = length or max(len(ids) for ids, *_ in samples) - 1
    ids = torch.zeros(len(samples), longest, dtype=torch.long)
    targets, mask = torch.zeros_like(ids), torch.zeros(len(samples), longest)
    for row, (tokens, supervised, *_) in enumerate(samples):
        ids[row, :len(tokens) - 1] = torch.tensor(tokens[:-1])
        targets[row, :len(tokens) - 1] = torch.tensor(tokens[1:])
        mask[row, supervised - 1:len(tokens) - 1] = 1
    return ids, targets, mask, [start for *_, start, _ in samples], torch.stack([pixels for *_, pixels in samples])


def batches_of(loader):
    """Without loader processes a thread makes the next batch while this one trains."""
    batches = iter(loader)
    if loader.num_workers:
        yield from batches
        return
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, batches, None)
        while (batch := waiting.result()) is not None:
            waiting = pool.submit(next, batches, None)
            yield batch


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("kind", choices=["pretrain", "sft"])
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--n_layers", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--untrimmed", action="store_true")
    parser.add_argument("--cudnn_attention", action="store_true", help="leaves the attention of cuDNN on")
    parser.add_argument("--data_path", type=pathlib.Path, help="default: KIND.json of the data")
    parser.add_argument("--workers", type=int, default=8, help="loader processes, on a GPU")
    arguments = parser.parse_args()
    torch.backends.cuda.enable_cudnn_sdp(CUDNN_ATTENTION)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1337)
    device = torch.device(arguments.device)
    model = Peer(arguments.dim, arguments.n_layers).to(device)
    vision = CLIPVisionModel(CLIPVisionConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                                              image_size=224, patch_size=32)).eval().requires_grad_(False).to(device)
    precision = torch.autocast(device.type, torch.bfloat16, enabled=arguments.dtype == "bfloat16")
    optimiser = torch.optim.Adam(model.parameters(), lr=4e-4, fused=True)
    loader = torch.utils.data.DataLoader(Samples(arguments.data, arguments.data_path or arguments.data / f"{arguments.kind}.json"), batch_size=arguments.batch_size, shuffle=True,
                                         collate_fn=functools.partial(collate, length=UNTRIMMED if arguments.untrimmed else None),
                                         generator=torch.Generator().manual_seed(1337), drop_last=True,
                                         num_workers=arguments.workers if device.type == "cuda" else 0, pin_memory=device.type == "cuda")
    seconds = []
    batches = batches_of(loader)
    for step in range(arguments.warmup + arguments.steps):
        start = time.perf_counter()
        ids, targets, mask, starts, pixels = next(batches)
        ids, targets, mask, pixels = (tensor.to(device, non_blocking=True) for tensor in (ids, targets, mask, pixels))
        with precision:
            with torch.no_grad():
                parts = pixels.split(1 if arguments.untrimmed else len(pixels))
                features = torch.cat([vision(pixel_values=part, output_hidden_states=True).hidden_states[-1] for part in parts])
            loss = model(ids, targets, mask, starts, features)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        loss.item()
        if step >= arguments.warmup:
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"samples_per_second": arguments.batch_size / float(numpy.median(seconds)), "loss": loss.item(),
                      "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                      "device_memory_mb": torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else None}))


main()
