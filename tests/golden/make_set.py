#!/usr/bin/env python3
"""Writes a folder of golden data in the form of the original's, with other sizes, seeds and configurations, from a plain
reference of SPEC.md in Python: loops where the C++ program groups, complex numbers where it turns pairs, full softmax where it
fuses. The runners must take the folder unchanged.
usage: make_set.py OUT_DIR TOKENIZER_DIR SEED
"""
import hashlib
import io
import json
import math
import pathlib
import random
import shutil
import sys

import numpy
import tokenizers
import torch
from PIL import Image
from reference import Clip, Lm, save_safetensors

PATTERN = [30] * 25 + [32] * 25
PLACEHOLDER = "<" * 25 + ">" * 25
VISION_WIDTH, VISION_TOKENS = 768, 50


class Set:
    def __init__(self, out, tokenizer, seed):
        self.out, self.rng = out, random.Random(seed)
        self.torch = torch.Generator().manual_seed(seed)
        self.tokenizer_dir = tokenizer
        self.tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
        self.manifest = {"versions": {"torch": torch.__version__}, "lm": {}, "images": {}, "image_tensors": {}}

    def randn(self, *shape):
        return torch.randn(shape, generator=self.torch)

    # ---- tokenizer -------------------------------------------------------------------------------------------------
    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def words(self, count):
        pool = ["红色", "a dog", " runs", "，", "12", "<s>", "</s>", "\n", "  ", "é", "😀", "图片", "It's", "<", ">>", "的"]
        return "".join(self.rng.choice(pool) for _ in range(count))

    def write_tokenizer(self):
        folder = self.out / "tokenizer"
        folder.mkdir(parents=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(self.tokenizer_dir / name, folder / name)
        decode = lambda ids, skip=False: self.tokenizer.decode(ids, skip_special_tokens=skip)
        encode_cases = []
        for _ in range(30):
            text = self.words(self.rng.randrange(0, 20))
            ids = self.encode(text)
            encode_cases.append(dict(text=text, ids=ids, decoded=decode(ids), decoded_skip_special=decode(ids, True)))
        decode_cases = [[self.rng.randrange(6400) for _ in range(9)] for _ in range(10)]
        streams = self.encode("你好😀 it's")
        (folder / "strings.json").write_text(json.dumps(dict(
            image_placeholder=PLACEHOLDER, encode_cases=encode_cases,
            decode_cases=[dict(ids=ids, decoded=decode(ids)) for ids in decode_cases],
            stream_decode_prefixes=[dict(ids=streams[:n], decoded=decode(streams[:n])) for n in range(1, len(streams) + 1)])))
        chats, samples = [], []
        for turns in (1, 3):
            messages = [dict(role=("user", "assistant")[i % 2], content=(PLACEHOLDER + "\n" if i == 0 else "") + "你好 there")
                        for i in range(turns)]
            prompt = render(messages)
            chats.append(dict(messages=messages, prompt=prompt, ids=self.encode(prompt)))
        for kind, length, question, answer in (("pretrain", 100, "<image>\n什么?", "红色 square"), ("sft", 77, "hi\n<image>", "two " * 30),
                                               ("multi", 160, "<image>\n<image>\ndifference?", "none")):
            samples.append(self.train_sample(kind, length, question, answer))
        samples.append(dict(kind="sft", max_length=20, error="IndexError: list index out of range",
                            sample=dict(id=1, image="a.jpg", conversations=[{"from": "human", "value": "no answer"}])))
        (folder / "conversations.json").write_text(json.dumps(dict(chat=chats, train_samples=samples)))

    def train_sample(self, kind, length, question, answer):
        text = render([dict(role="user", content=question.replace("<image>", PLACEHOLDER)), dict(role="assistant", content=answer)])
        ids = self.encode(text)[:length]
        real = len(ids)
        ids += [0] * (length - real)
        marker = self.encode("<s>assistant")
        starts = [i for i in range(real - 3) if ids[i:i + 4] == marker]
        first = starts[-1] + 4
        mask = [int(first <= i < real) for i in range(length)][1:]
        x, y = ids[:-1], ids[1:]
        spans = [i for i in range(len(x) - 49) if x[i:i + 50] == PATTERN]
        supervised = [y[i] for i in range(len(y)) if mask[i]]
        return dict(kind=kind, max_length=length, X=x, Y_last=y[-1], loss_mask=mask, n_supervised=len(supervised),
                    n_real_in_X=min(real, length - 1), placeholder_starts=spans,
                    supervised_targets_text=self.tokenizer.decode(supervised, skip_special_tokens=False),
                    sample=dict(id=0, image="a.jpg", conversations=[{"from": "human", "value": question}, {"from": "gpt", "value": answer}]))

    # ---- language models -------------------------------------------------------------------------------------------
    def ids(self, count):
        return [self.rng.choice([i for i in (self.rng.randrange(40, 6400), self.rng.randrange(40, 6400))]) for _ in range(count)]

    def batches(self):
        """name -> (rows, features): the rows' spans written out."""
        p = PATTERN
        one = [self.ids(4) + p + self.ids(17), self.ids(9) + p + self.ids(12)]
        return {
            "text": ([self.ids(21), self.ids(21)], None),
            "one_image": (one, "pool[:2, 0]"),
            "two_images": ([self.ids(3) + p + self.ids(5) + p + self.ids(8), p + p + self.ids(16)], "pool[:2, :2]"),
            "mixed_batch": ([self.ids(2) + p + self.ids(9), self.ids(61)], "pool[:2, 0]"),
            "more_features_than_placeholders": (one, "pool[:2, :2]"),
            "truncated_placeholder": ([self.ids(20) + p[:39], self.ids(10) + p[:49]], "pool[:2, 0]"),
            "space_broken_placeholder": ([self.ids(6) + [223] + p[1:] + self.ids(5), self.ids(3) + p + self.ids(8)], "pool[:2, 0]"),
            "longer_run": ([self.ids(2) + [30] * 3 + p + [32] * 2 + self.ids(9), p + [32] * 6 + self.ids(10)], "pool[:2, 0]"),
            "single_sample": ([self.ids(8) + p + self.ids(12)], "pool[:1, 0]"),
        }

    def features(self, words):
        if words is None:
            return None
        rows, number = int(words[6]), int(words.rstrip("]")[-1])
        return self.pool[:rows, :number] if ", :" in words else self.pool[:rows, number:number + 1]

    def write_models(self):
        folder = self.out / "lm"
        folder.mkdir()
        self.pool = self.randn(2, 2, VISION_TOKENS, VISION_WIDTH)
        save_safetensors(folder / "features.safetensors", {"pool": self.pool})
        base = dict(dim=48, n_layers=3, n_heads=6, n_kv_heads=2, vocab_size=6400)
        moe = dict(base, dim=40, n_layers=2, n_heads=4, n_kv_heads=4, use_moe=True)
        configs = {
            "dense_inner": dict(base, hidden_dim=50, norm_eps=1e-6),
            "dense_rounded": dict(base, n_kv_heads=6, multiple_of=32),
            "moe_top1_unshared": dict(moe, num_experts_per_tok=1, n_routed_experts=3, n_shared_experts=None, hidden_dim=24),
            "moe_top3_unnormed": dict(moe, num_experts_per_tok=3, n_routed_experts=7, norm_topk_prob=False, hidden_dim=36),
            "moe_default": dict(moe, n_shared_experts=1),
        }
        for name, config in configs.items():
            self.write_model(folder / name, config)
            self.manifest["lm"][name]["seed"] = self.rng.randrange(10000)

    def write_model(self, folder, config):
        folder.mkdir()
        model = Lm(config, self.torch)
        state = model.state_dict()
        torch.save(state, folder / "model.pth")
        torch.save({"_orig_mod." + key: value for key, value in state.items()}, folder / "model_compiled.pth")
        torch.save({key: value for key, value in state.items() if "vision_proj" not in key}, folder / "model_language.pth")
        tensors, part = {}, {"config": config, "state_dict": [[key, list(value.shape)] for key, value in state.items()], "cases": {},
                             "upstream_errors": dict(fewer_features_than_placeholders="IndexError", squeezed_batch_of_one="RuntimeError")}
        cases = {}
        for case, (rows, words) in self.batches().items():
            x = torch.tensor(rows)
            y = torch.cat([x[:, 1:], torch.tensor([[self.rng.randrange(40, 6400)] for _ in rows])], 1)
            y[0, -1] = 0  # a supervised padding target: nothing above the line, counted below
            mask = torch.zeros_like(x)
            mask[:, -7:] = 1
            cases[case] = (x, y, mask, self.features(words))
            part["cases"][case] = self.write_case(model, case, cases[case], tensors, dict(features=words, shape=list(x.shape)))
        part["generation"] = {}
        for name, words, prompt in (("text", None, self.ids(11)), ("one_image", "pool[:1, 0]", self.ids(5) + PATTERN + self.ids(6))):
            part["generation"][name] = self.write_generation(model, name, words, prompt, tensors)
        key = "grad_fp32buffer" if config.get("use_moe") else "grad"
        part[key] = {case: self.write_gradients(model, f"{key}_{case}.", cases[case], tensors) for case in ("one_image", "text")}
        part[key + "_train5"] = self.write_steps(model, key + "_train5_final.", cases["one_image"], tensors)
        part["tensors"] = {name: [str(value.dtype).split(".")[1], list(value.shape)] for name, value in tensors.items()}
        save_safetensors(folder / "case.safetensors", tensors)
        self.manifest["lm"][folder.name] = part

    def write_case(self, model, case, batch, tensors, facts):
        x, y, mask, features = batch
        with torch.no_grad():
            hidden, spliced = model.hidden(x, features)
            logits = model.logits(hidden)
            entropy = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=0, reduction="none").view(y.shape)
        tensors |= {f"{case}.X": x, f"{case}.Y": y, f"{case}.loss_mask": mask, f"{case}.final_norm_out": hidden,
                    f"{case}.per_token_ce": entropy, f"{case}.logits_lse": logits.logsumexp(-1), f"{case}.logits_argmax": logits.argmax(-1)}
        if case == "text":
            tensors[f"{case}.logits"] = logits
        else:
            rows = torch.tensor(sorted(self.rng.sample(range(x.shape[1]), 3)))
            tensors |= {f"{case}.logits_pos": rows, f"{case}.logits_rows": logits[:, rows], f"{case}.last_only_logits": logits[:, -1:]}
        facts |= dict(masked_loss=((entropy * mask).sum() / mask.sum()).item(), mask_sum=mask.sum().item(), spliced=spliced)
        return facts

    def write_generation(self, model, name, words, prompt, tensors):
        features = self.features(words)
        tensors[f"gen_{name}.prompt"] = torch.tensor([prompt])
        facts = dict(features=words)
        for penalty, suffix in ((1.0, ""), (1.3, "_rp1.3")):
            tokens, margin = model.greedy(prompt, features, 12, penalty)
            for kind in ("kv", "nokv") if penalty == 1.0 else ("kv",):
                facts |= {f"greedy_{kind}{suffix}": tokens, f"greedy_{kind}{suffix}_min_margin": margin}
        greedy = facts["greedy_kv"]
        eos = greedy[5]
        facts["stop_on_eos"] = dict(eos=eos, yields=greedy[:greedy.index(eos)])
        facts["max_new_tokens_is_total_cap"] = dict(max_new_tokens=len(prompt) + 5, n_generated=4)
        for words, temperature, top_k, penalty in (("t0.6_k5", 0.6, 5, 1.0), ("t1.1_knone_rp1.4", 1.1, 6400, 1.4)):
            path, rows, ids = model.probabilities(prompt, features, 3, (temperature, top_k, penalty))
            facts["argmax_path_" + words] = path
            tensors[f"gen_{name}.probs_{words}"] = rows
            if top_k < 6400:
                tensors[f"gen_{name}.probs_ids_{words}"] = ids
        return facts

    def write_gradients(self, model, prefix, batch, tensors):
        loss, gradients = model.gradients(batch)
        rows = torch.tensor([0, 30, 32, 45, 6399])
        tensors[prefix + "tied_embedding_rows"] = rows
        tensors[prefix + "tied_embedding_grad_rows"] = gradients["tok_embeddings.weight"][rows]
        for name, gradient in gradients.items():
            if name != "tok_embeddings.weight" and gradient.norm() > 1e-3:
                tensors[prefix + name] = gradient
        norms = {name: gradient.norm().item() for name, gradient in gradients.items()}
        return dict(loss=loss, total_grad_norm=math.sqrt(sum(norm**2 for norm in norms.values())), grad_norms=norms)

    def write_steps(self, model, prefix, batch, tensors):
        peak, steps, records = 3e-4, 5, []
        parameters = list(model.parameters.values())
        adam = torch.optim.Adam(parameters, lr=peak)
        for step in range(steps):
            rate = peak / 10 + 0.5 * (1 + math.cos(math.pi * step / steps)) * (peak - peak / 10)
            adam.param_groups[0]["lr"] = rate
            loss, _ = model.gradients(batch)
            norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            adam.step()
            records.append(dict(lr=rate, loss=loss, grad_norm_before_clip=norm.item()))
        for name in ("norm.weight", "layers.1.attention.wk.weight", "vision_proj.vision_proj.0.bias"):
            tensors[prefix + name] = model.parameters[name].detach().clone()
        return records

    # ---- images --------------------------------------------------------------------------------------------------
    def images(self):
        noise = numpy.random.default_rng(self.rng.randrange(1 << 30))
        image = lambda w, h, c: Image.fromarray(numpy.repeat(numpy.repeat(noise.integers(0, 256, (-(-h // 5), -(-w // 5), c), "uint8"), 5, 0), 5, 1)[:h, :w].squeeze())
        rgb = image(91, 53, 3)
        yield "tall_41x300.png", image(41, 300, 3), {}
        yield "bitmap_91x53.bmp", rgb, {}
        yield "web_91x53.webp", rgb, dict(lossless=True)
        yield "photo_300x210.jpg", image(300, 210, 3), dict(quality=80)
        yield "ink_60x77.jpg", image(60, 77, 3).convert("CMYK"), dict(quality=90)
        yield "gray_alpha_64x31.png", image(64, 31, 2), {}
        yield "alpha_31x64.png", image(31, 64, 4), {}
        yield "bits_70x70.png", image(70, 70, 1).convert("1"), {}
        yield "palette_33x90.png", rgb.quantize(17), {}
        yield "gray_5x9.png", image(5, 9, 1), {}

    def write_images(self):
        folder = self.out / "images"
        folder.mkdir()
        encoder = Clip(self.torch, width=32, inner=88, layers=3, heads=2)
        encoder.write(self.out / "clip")
        self.manifest["clip"] = dict(note="another tiny encoder")
        tensors = {"zero_padding_image.encoder_out": encoder.encode(torch.zeros(3, 224, 224))}
        for name, image, how in self.images():
            image.save(folder / name, **how)
            opened = Image.open(io.BytesIO((folder / name).read_bytes()))
            stem, same = name.rsplit(".", 1)[0], opened.mode in ("RGB", "L")
            path = "train" if same else "eval"
            resized = opened.convert("RGB").resize((224, 224), Image.BICUBIC)
            values = torch.from_numpy(numpy.array(resized)).permute(2, 0, 1).contiguous()
            pixels = encoder.normalise(values)
            tensors |= {f"{stem}.{path}.u8_chw": values, f"{stem}.{path}.encoder_out": encoder.encode(pixels)}
            if same:
                tensors[f"{stem}.{path}.pixel_values"] = pixels
            self.manifest["images"][name] = dict(mode=opened.mode, size=list(opened.size), format=opened.format, eval_same_as_train=same,
                                                 decoded_sha256_raw_bytes=hashlib.sha256(opened.tobytes()).hexdigest())
        self.manifest["image_tensors"] = {name: [list(value.shape), str(value.dtype)] for name, value in tensors.items()}
        save_safetensors(folder / "expected.safetensors", tensors)


def render(messages):
    text = ""
    for message in messages:
        text += f"<s>user\n{message['content']}</s>\n<s>assistant\n" if message["role"] == "user" else f"{message['content']}</s>\n"
    return text


def main():
    torch.set_num_threads(1)
    out = pathlib.Path(sys.argv[1])
    golden = Set(out, pathlib.Path(sys.argv[2]), int(sys.argv[3]))
    golden.write_tokenizer()
    golden.write_models()
    golden.write_images()
    (out / "manifest.json").write_text(json.dumps(golden.manifest))


main()
