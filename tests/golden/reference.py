"""SPEC.md in plain PyTorch, one token, head and expert after the other: what make_set.py takes its results from."""
import json
import math

import torch
from torch.nn import functional

PATTERN = [30] * 25 + [32] * 25
TYPES = {torch.float32: "F32", torch.int64: "I64", torch.uint8: "U8"}


def save_safetensors(path, tensors):
    header, at, parts = {}, 0, []
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].element_size()):
        data = tensor.detach().contiguous().numpy().tobytes()
        header[name] = dict(dtype=TYPES[tensor.dtype], shape=list(tensor.shape), data_offsets=[at, at + len(data)])
        at += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


class Lm:
    """parameters: name -> leaf tensor; the tied head is tok_embeddings.weight."""

    def __init__(self, config, generator):
        self.config = dict(hidden_dim=None, multiple_of=64, norm_eps=1e-5, use_moe=False, num_experts_per_tok=2, n_routed_experts=4,
                           n_shared_experts=True, norm_topk_prob=True) | config
        c, self.parameters = self.config, {}
        dim, head = c["dim"], c["dim"] // c["n_heads"]
        inner = c["hidden_dim"] or -(-int(2 * 4 * dim / 3) // c["multiple_of"]) * c["multiple_of"]

        def add(name, *shape, scale=1.0, mean=0.0):
            value = torch.randn(shape, generator=generator) * scale + mean
            self.parameters[name] = value.requires_grad_()

        def feed_forward(prefix):
            add(prefix + "w1.weight", inner, dim, scale=dim**-0.5)
            add(prefix + "w2.weight", dim, inner, scale=inner**-0.5)
            add(prefix + "w3.weight", inner, dim, scale=dim**-0.5)

        add("tok_embeddings.weight", c["vocab_size"], dim)
        for i in range(c["n_layers"]):
            p = f"layers.{i}."
            for name, heads in (("wq", c["n_heads"]), ("wk", c["n_kv_heads"]), ("wv", c["n_kv_heads"])):
                add(p + f"attention.{name}.weight", heads * head, dim, scale=dim**-0.5)
            add(p + "attention.wo.weight", dim, dim, scale=dim**-0.5)
            add(p + "attention_norm.weight", dim, scale=0.1, mean=1)
            add(p + "ffn_norm.weight", dim, scale=0.1, mean=1)
            if not c["use_moe"]:
                feed_forward(p + "feed_forward.")
                continue
            for expert in range(c["n_routed_experts"]):
                feed_forward(p + f"feed_forward.experts.{expert}.")
            add(p + "feed_forward.gate.weight", c["n_routed_experts"], dim, scale=dim**-0.5)
            if c["n_shared_experts"] is not None:
                feed_forward(p + "feed_forward.shared_experts.")
        add("norm.weight", dim, scale=0.1, mean=1)
        add("vision_proj.vision_proj.0.weight", dim, 768, scale=768**-0.5)
        add("vision_proj.vision_proj.0.bias", dim, scale=0.1)

    def state_dict(self):
        state = {name: value.detach() for name, value in self.parameters.items()}
        head = state["tok_embeddings.weight"]  # where the original has it: in front of the projection
        at = list(state).index("vision_proj.vision_proj.0.weight")
        return dict(list(state.items())[:at] + [("output.weight", head)] + list(state.items())[at:])

    def norm(self, x, name):
        return x * (x.pow(2).mean(-1, keepdim=True) + self.config["norm_eps"]).rsqrt() * self.parameters[name + ".weight"]

    def linear(self, x, name):
        return x @ self.parameters[name + ".weight"].T

    def turn(self, x):  # [B, S, heads, d]
        width = x.shape[-1]
        frequency = 10000.0**(-torch.arange(0, width, 2).float() / width)
        angle = torch.outer(torch.arange(x.shape[1]).float(), frequency)
        turned = torch.view_as_complex(x.reshape(*x.shape[:-1], width // 2, 2)) * torch.polar(torch.ones_like(angle), angle)[None, :, None]
        return torch.view_as_real(turned).flatten(-2)

    def attention(self, x, p):
        c = self.config
        batch, length, _ = x.shape
        heads = lambda name, count: self.linear(x, p + name).view(batch, length, count, -1)
        q, k, v = self.turn(heads("wq", c["n_heads"])), self.turn(heads("wk", c["n_kv_heads"])), heads("wv", c["n_kv_heads"])
        outputs = []
        for h in range(c["n_heads"]):
            kv = h * c["n_kv_heads"] // c["n_heads"]
            scores = q[:, :, h] @ k[:, :, kv].transpose(1, 2) / math.sqrt(q.shape[-1])
            scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf)
            outputs.append(scores.softmax(-1) @ v[:, :, kv])
        return self.linear(torch.cat(outputs, -1), p + "wo")

    def swiglu(self, x, p):
        return self.linear(functional.silu(self.linear(x, p + "w1")) * self.linear(x, p + "w3"), p + "w2")

    def experts(self, x, p):
        c, rows = self.config, []
        for token in x.flatten(0, 1):
            scores = self.linear(token, p + "gate").softmax(-1)
            weights, chosen = scores.topk(c["num_experts_per_tok"])
            if c["num_experts_per_tok"] > 1 and c["norm_topk_prob"]:
                weights = weights / (weights.sum() + 1e-20)
            mixed = sum(weight * self.swiglu(token, p + f"experts.{expert}.") for weight, expert in zip(weights, chosen.tolist()))
            rows.append(mixed if c["n_shared_experts"] is None else mixed + self.swiglu(token, p + "shared_experts."))
        return torch.stack(rows).view_as(x)

    def hidden(self, ids, features):
        """ids [B, S], features [B, N, 50, 768] or None. Returns the hidden states and whether an image was spliced."""
        rows, spliced = [], False
        for b, row in enumerate(ids.tolist()):
            embeddings, at, image = self.parameters["tok_embeddings.weight"][row], 0, 0
            while features is not None and at + 50 <= len(row):
                if row[at:at + 50] != PATTERN:
                    at += 1
                    continue
                vision = self.linear(features[b, image], "vision_proj.vision_proj.0") + self.parameters["vision_proj.vision_proj.0.bias"]
                embeddings = torch.cat([embeddings[:at], vision, embeddings[at + 50:]])
                at, image, spliced = at + 50, image + 1, True
            rows.append(embeddings)
        x = torch.stack(rows)
        for i in range(self.config["n_layers"]):
            p = f"layers.{i}."
            x = x + self.attention(self.norm(x, p + "attention_norm"), p + "attention.")
            y = self.norm(x, p + "ffn_norm")
            x = x + (self.experts if self.config["use_moe"] else self.swiglu)(y, p + "feed_forward.")
        return self.norm(x, "norm"), spliced

    def logits(self, hidden):
        return self.linear(hidden, "tok_embeddings")

    @torch.no_grad()
    def next_logits(self, ids, features, penalty):
        logits = self.logits(self.hidden(torch.tensor([ids]), features)[0][0, -1:])[0]
        seen = torch.tensor(sorted(set(ids)))
        logits[seen] = torch.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)
        return logits

    def greedy(self, prompt, features, count, penalty):
        ids, margin = list(prompt), math.inf
        for _ in range(count):
            best = self.next_logits(ids, features, penalty).topk(2)
            margin = min(margin, (best.values[0] - best.values[1]).item())
            ids.append(best.indices[0].item())
        return ids[len(prompt):], margin

    def probabilities(self, prompt, features, count, sampling):
        temperature, top_k, penalty = sampling
        ids, rows, chosen = list(prompt), [], []
        for _ in range(count):
            best = (self.next_logits(ids, features, penalty) / temperature).topk(top_k)
            row = best.values.softmax(-1)
            ids.append(best.indices[0].item())
            rows.append(row if top_k < 6400 else torch.zeros(6400).scatter(0, best.indices, row))
            chosen.append(best.indices)
        return ids[len(prompt):], torch.stack(rows), torch.stack(chosen)

    def gradients(self, batch):
        ids, targets, mask, features = batch
        for parameter in self.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        logits = self.logits(self.hidden(ids, features)[0])
        entropy = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=0, reduction="none").view(targets.shape)
        loss = (entropy * mask).sum() / mask.sum()
        loss.backward()
        return loss.item(), {name: parameter.grad.clone() for name, parameter in self.parameters.items()}


class Clip:
    """A small vision tower of CLIP's form over 224x224 pixels in patches of 32."""

    def __init__(self, generator, width, inner, layers, heads):
        self.width, self.inner, self.layers, self.heads, self.state = width, inner, layers, heads, {}

        def add(name, *shape, scale=1.0, mean=0.0):
            self.state["vision_model." + name] = torch.randn(shape, generator=generator) * scale + mean

        def affine(name, out, inside):
            add(name + ".weight", out, inside, scale=inside**-0.5)
            add(name + ".bias", out, scale=0.1)

        def norm(name):
            add(name + ".weight", width, scale=0.1, mean=1)
            add(name + ".bias", width, scale=0.1)

        add("embeddings.class_embedding", width)
        add("embeddings.patch_embedding.weight", width, 3, 32, 32, scale=0.02)
        add("embeddings.position_embedding.weight", 50, width)
        norm("pre_layrnorm")
        norm("post_layernorm")
        for i in range(layers):
            p = f"encoder.layers.{i}."
            norm(p + "layer_norm1")
            norm(p + "layer_norm2")
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                affine(p + "self_attn." + name, width, width)
            affine(p + "mlp.fc1", inner, width)
            affine(p + "mlp.fc2", width, inner)

    def write(self, folder):
        """A vision-only folder: a flat config.json."""
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(dict(
            model_type="clip_vision_model", hidden_size=self.width, intermediate_size=self.inner, num_hidden_layers=self.layers,
            num_attention_heads=self.heads, patch_size=32, image_size=224, hidden_act="quick_gelu", layer_norm_eps=1e-5)))
        (folder / "preprocessor_config.json").write_text(json.dumps(dict(
            image_mean=[0.48145466, 0.4578275, 0.40821073], image_std=[0.26862954, 0.26130258, 0.27577711])))
        save_safetensors(folder / "model.safetensors", self.state)
        torch.save(self.state | {"vision_model.embeddings.position_ids": torch.arange(50)[None]}, folder / "pytorch_model.bin")

    @staticmethod
    def normalise(values):
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
        return (values.float() / 255 - mean) / torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)

    def encode(self, pixels):
        get = lambda name: self.state["vision_model." + name]
        affine = lambda x, name: x @ get(name + ".weight").T + get(name + ".bias")
        norm = lambda x, name: functional.layer_norm(x, (self.width,), get(name + ".weight"), get(name + ".bias"), 1e-5)
        patches = functional.conv2d(pixels[None], get("embeddings.patch_embedding.weight"), stride=32)[0].flatten(1).T
        x = torch.cat([get("embeddings.class_embedding")[None], patches]) + get("embeddings.position_embedding.weight")
        x = norm(x, "pre_layrnorm")
        for i in range(self.layers):
            p = f"encoder.layers.{i}."
            y = norm(x, p + "layer_norm1")
            q, k, v = (affine(y, p + f"self_attn.{name}_proj").view(50, self.heads, -1).transpose(0, 1) for name in "qkv")
            mixed = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
            x = x + affine(mixed.transpose(0, 1).reshape(50, -1), p + "self_attn.out_proj")
            y = affine(norm(x, p + "layer_norm2"), p + "mlp.fc1")
            x = x + affine(y * torch.sigmoid(1.702 * y), p + "mlp.fc2")
        return x
