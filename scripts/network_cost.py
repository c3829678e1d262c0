#!/usr/bin/env python3
"""Estimates what the network costs training on many GPUs, from inputs that it states, and writes the tables into docs/INTERNALS.md.

usage: network_cost.py [--check] [NAME=VALUE…]    prints the tables; NAME is an input below, e.g. many=512 links.host=40
       network_cost.py --write                    puts them into docs/INTERNALS.md
--check exits 1 if the document has other tables.
"""
import math
import pathlib
import sys

DOCUMENT = pathlib.Path(__file__).resolve().parent.parent / "docs/INTERNALS.md"
BEGIN, END = "<!-- network_cost.py begin -->", "<!-- network_cost.py end -->"

# width, layers, vocabulary; width of the encoder; a sample's GFLOPs in the language model (95 tokens, 25 of them supervised) and in the encoder;
# milliseconds a step cannot be shorter than (launches); samples per millisecond of a large batch. The last two are estimates for an H100.
MODELS = {
    "512+8": {"dim": 512, "layers": 8, "lm_gflop": 14.0, "encoder_gflop": 8.7, "least_step_ms": 4.0, "samples_per_ms": 9.8},
    "768+16": {"dim": 768, "layers": 16, "lm_gflop": 59.9, "encoder_gflop": 8.7, "least_step_ms": 6.5, "samples_per_ms": 4.3},
}
# GB/s that a rank of an all-reduce gets out of the slowest link of the ring, at 80 % of its nominal rate and the ranks for which the link is usual.
LINKS = {
    "nvlink": ("NVLink, one host", 360.0, (8,)),
    "pcie": ("PCIe 4.0 x16, one host", 20.0, (8,)),
    "card": ("100 Gb/s a card", 80.0, (64, 512)),
    "host": ("100 Gb/s a host of 8 cards", 10.0, (64, 512)),
}
INPUTS = {
    "few": 32.0, "many": 256.0,     # samples a rank (--batch_size) of the two columns
    "largest_batch": 4096.0,        # samples of all ranks that a step may have: 145 steps an epoch of 595,000 samples
    "data_set": 595_000.0,
    "bucket_mb": 25.0,              # --bucket_mb
    "latency_us": 15.0,             # of one message between two ranks; a tree sends 2 log2(ranks) of them, one after another
}


def parameters(model):
    """Trained parameters: attention with half as many key/value heads, SwiGLU, two norms a layer, tied embedding, last norm, projection."""
    dim, vocabulary, encoder = model["dim"], 6400, 768
    inner = math.ceil(int(8 * dim / 3) / 64) * 64
    layer = 3 * dim * dim + 3 * dim * inner + 2 * dim
    return model["layers"] * layer + vocabulary * dim + dim + encoder * dim + dim


def step_ms(model, samples):
    return max(model["least_step_ms"], samples / model["samples_per_ms"])


def backward_ms(model, samples):
    """Backward is two thirds of the language model's operations; the encoder has none."""
    share = model["lm_gflop"] * 2 / 3 / (model["lm_gflop"] + model["encoder_gflop"])
    return share * step_ms(model, samples)


def reduction(model, gigabytes_per_second, ranks, samples, inputs):
    """MB that a rank sends a step, milliseconds of the all-reduce, and the share that backward hides."""
    gradients = 4 * parameters(model)
    backward = backward_ms(model, samples)
    bucket = inputs["bucket_mb"] * 1e6
    ready = end = busy = sent = 0.0
    while sent < gradients:
        size = min(bucket, gradients - sent)
        sent += size
        ready = backward * sent / gradients  # gradients become ready at an even pace, the last bucket with the end of backward
        cost = 2 * (ranks - 1) / ranks * size / (gigabytes_per_second * 1e6) + 2 * math.log2(ranks) * inputs["latency_us"] / 1e3
        end = max(ready, end) + cost
        busy += cost
    return 2 * (ranks - 1) / ranks * gradients / 1e6, busy, max(0.0, 1 - (end - backward) / busy)


def step_with_network(model, rate, ranks, samples, inputs):
    _, busy, hidden = reduction(model, rate, ranks, samples, inputs)
    return step_ms(model, samples) + busy * (1 - hidden)


def samples_that_hide(model, rate, ranks, inputs):
    """The fewest samples a rank with which waiting for the network takes at most a tenth of a step; never fewer than fill the launches."""
    samples = math.ceil(model["least_step_ms"] * model["samples_per_ms"])
    while step_with_network(model, rate, ranks, samples, inputs) > step_ms(model, samples) / 0.9:
        samples += 1
    return samples


def tables(inputs):
    few, many = inputs["few"], inputs["many"]
    lines = [f"| model | slowest link | ranks | sent a rank | all-reduce | hidden at {few:.0f} samples a rank | at {many:.0f} | step at {few:.0f} | at {many:.0f} |",
             "|---|---|---|---|---|---|---|---|---|"]
    limits = ["| model | slowest link | samples a rank | ranks at the largest batch |", "|---|---|---|---|"]
    for name, model in MODELS.items():
        for link, rate, counts in LINKS.values():
            for ranks in counts:
                (sent, busy, hidden), (_, _, hidden_many) = (reduction(model, rate, ranks, samples, inputs) for samples in (few, many))
                steps = [f"{step_with_network(model, rate, ranks, samples, inputs):.1f} ({step_ms(model, samples):.1f}) ms" for samples in (few, many)]
                lines.append(f"| {name} | {link} | {ranks} | {sent:.0f} MB | {busy:.1f} ms | {100 * hidden:.0f} % | {100 * hidden_many:.0f} % | {' | '.join(steps)} |")
            fewest = samples_that_hide(model, rate, max(counts), inputs)
            limits.append(f"| {name} | {link} | {fewest} | {max(1, int(inputs['largest_batch'] // fewest))} |")
    return "\n".join(lines) + "\n\n" + "\n".join(limits) + "\n"


def with_tables(text, table):
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return text[:begin] + "\n\n" + table + "\n" + text[end:]


def main():
    inputs = dict(INPUTS)
    for name, value in (argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument):
        group, _, key = name.partition(".")
        if group == "links" and key in LINKS:
            LINKS[key] = (LINKS[key][0], float(value), LINKS[key][2])
        elif name in inputs:
            inputs[name] = float(value)
        else:
            sys.exit(f"{name}: expected one of {', '.join([*inputs, *('links.' + link for link in LINKS)])}, found no such input")
    table = tables(inputs)
    text = DOCUMENT.read_text()
    if "--write" in sys.argv[1:]:
        DOCUMENT.write_text(with_tables(text, table))
    elif "--check" in sys.argv[1:]:
        if with_tables(text, table) != text:
            sys.exit(f"{DOCUMENT}: expected the tables of network_cost.py, found others; run network_cost.py --write")
    else:
        print(table)


if __name__ == "__main__":
    main()
