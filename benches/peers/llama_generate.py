"""Measures llama.cpp with a model, as crates/gllm/benches/generate/measures.rs does it for gllm, in this process.

Prints one line of JSON. Its cache is of half floats, as it comes, and its batches are of 512 tokens.

    pip install llama-cpp-python
    python llama_generate.py MODEL.gguf THREADS
"""

import json
import statistics
import sys
import time

import llama_cpp

PROMPT, WRITTEN, SHORT_PROMPT, CONTEXT, TIMES = 512, 64, 16, 1024, 3


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    start = time.perf_counter()
    model = llama_cpp.Llama(
        path, n_ctx=CONTEXT, n_batch=PROMPT, n_ubatch=PROMPT, n_threads=threads, n_threads_batch=threads,
        n_gpu_layers=0, verbose=False,
    )  # fmt: skip
    load_seconds = time.perf_counter() - start
    ids = [(index * 7919 + 13) % 30_000 for index in range(CONTEXT)]

    def read(tokens):
        model.eval(tokens)
        llama_cpp.llama_get_logits(model.ctx)  # waits

    def timed(prompt, written):
        model.reset()
        start = time.perf_counter()
        read(prompt)
        prompt_seconds = time.perf_counter() - start
        for token in written:
            read([token])
        return prompt_seconds, time.perf_counter() - start - prompt_seconds

    def median(prompt, written):
        timed(prompt, written)
        prompts, rests = zip(*(timed(prompt, written) for _ in range(TIMES)))
        return statistics.median(prompts), statistics.median(rests)

    first_token, _ = median(ids[:SHORT_PROMPT], [])
    prefill, decode = median(ids[:PROMPT], ids[PROMPT : PROMPT + WRITTEN])
    model.reset()
    read(ids)
    with open("/proc/self/status") as status:
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    measures = {
        "load_seconds": load_seconds,
        "prefill": PROMPT / prefill,
        "decode": WRITTEN / decode,
        "first_token_ms": first_token * 1e3,
        "peak_memory_mb": int(peak) / 1024,
    }
    print(json.dumps(measures))


if __name__ == "__main__":
    main()
