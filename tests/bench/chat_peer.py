#!/usr/bin/env python3
"""The peers of the chat benchmark, each asked by lines of standard input and answering with lines of JSON as chat_bench does.
usage: chat_peer.py write OUT.gguf TYPE DIM LAYERS        random weights of the language model's shape (TYPE: F32, BF16 or Q8_0)
       chat_peer.py llama FILE.gguf THREADS PROMPT_TOKENS  reads `decode TOKENS`
       chat_peer.py clip FOLDER THREADS                    reads `encode FILE`"""
import json
import sys
import time


def write(path, kind, dim, layers, heads=16, kv_heads=8, vocab=6400):
    import gguf
    import numpy
    generator = numpy.random.default_rng(1337)
    inner = -(-int(2 * 4 * dim / 3) // 64) * 64
    head = dim // heads
    types = {"F32": gguf.GGMLQuantizationType.F32, "BF16": gguf.GGMLQuantizationType.BF16, "Q8_0": gguf.GGMLQuantizationType.Q8_0}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(1024)
    writer.add_embedding_length(dim)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(head)
    writer.add_vocab_size(vocab)
    writer.add_tokenizer_model("none")

    def matrix(name, rows, columns):
        values = (generator.standard_normal((rows, columns)) * 0.02).astype(numpy.float32)
        writer.add_tensor(name, gguf.quants.quantize(values, types[kind]), raw_dtype=types[kind])

    def norm(name):
        writer.add_tensor(name, numpy.ones(dim, numpy.float32))

    matrix("token_embd.weight", vocab, dim)
    norm("output_norm.weight")
    for i in range(layers):
        at = f"blk.{i}."
        norm(at + "attn_norm.weight")
        norm(at + "ffn_norm.weight")
        matrix(at + "attn_q.weight", dim, dim)
        matrix(at + "attn_k.weight", kv_heads * head, dim)
        matrix(at + "attn_v.weight", kv_heads * head, dim)
        matrix(at + "attn_output.weight", dim, dim)
        matrix(at + "ffn_gate.weight", inner, dim)
        matrix(at + "ffn_up.weight", inner, dim)
        matrix(at + "ffn_down.weight", dim, inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def answer(values):
    print(json.dumps(values), flush=True)


def ends_well(function, *arguments):
    """Whether no signal ends the function, tried in a process of its own: llama.cpp 0.3.36 ends with a segmentation fault when
    it uses AMX for a prompt in Q8_0."""
    import os
    child = os.fork()
    if child == 0:
        function(*arguments)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0, "llama.cpp failed: see above"
    return status == 0


def open_llama(path, threads, prompt_tokens, repacks):
    """Functions for the prompt and for more tokens, each of which returns the logits."""
    import llama_cpp
    open_llama.silent = llama_cpp.llama_log_callback(lambda level, text, data: None)  # must live on
    llama_cpp.llama_log_set(open_llama.silent, None)
    llama_cpp.llama_backend_init()
    layout = llama_cpp.llama_model_default_params()
    layout.use_extra_bufts = repacks
    model = llama_cpp.llama_model_load_from_file(path.encode(), layout)
    assert model, f"{path}: llama.cpp cannot load it"
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = 1024, 512, 512
    params.n_threads = params.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(model, params)
    memory = llama_cpp.llama_get_memory(context)

    def decode(tokens):
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        status = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens)))
        assert status == 0, status
        return llama_cpp.llama_get_logits(context)

    def prompt():
        llama_cpp.llama_memory_clear(memory, True)
        return decode([3 + i % 97 for i in range(prompt_tokens)])

    prompt()
    return prompt, decode


def serve_llama(path, threads, prompt_tokens):
    repacks = ends_well(open_llama, path, threads, prompt_tokens, True)
    prompt, decode = open_llama(path, threads, prompt_tokens, repacks)
    answer({"ready": True, "repacks": repacks})
    for line in sys.stdin:
        count = int(line.split()[1])
        start = time.perf_counter()
        prompt()
        prefill = time.perf_counter() - start
        start = time.perf_counter()
        for i in range(count):
            decode([3 + i % 97])
        answer({"tokens_per_second": count / (time.perf_counter() - start), "prefill_seconds": prefill})


def serve_clip(folder, threads):
    import torch
    import transformers
    from PIL import Image
    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    model = transformers.CLIPVisionModel.from_pretrained(folder, dtype=torch.float32).eval()
    processor = transformers.CLIPImageProcessor()
    answer({"ready": True, "version": transformers.__version__})
    for line in sys.stdin:
        path = line.split(maxsplit=1)[1].strip()
        start = time.perf_counter()
        with torch.inference_mode():
            image = Image.open(path).convert("RGB").resize((224, 224), Image.BICUBIC)
            tokens = model(**processor(image, return_tensors="pt")).last_hidden_state
        seconds = time.perf_counter() - start
        assert tokens.shape == (1, 50, 768), tokens.shape
        answer({"seconds": seconds})


what, *rest = sys.argv[1:]
if what == "write":
    write(rest[0], rest[1], int(rest[2]), int(rest[3]))
elif what == "llama":
    serve_llama(rest[0], int(rest[1]), int(rest[2]))
else:
    serve_clip(rest[0], int(rest[1]))
