"""Measures llama.cpp with a model, as crates/gllm/benches/worker/generate.rs does it for gllm.

Its cache is of half floats, as it comes, and its batches are of 512 tokens. `cargo xtask bench generate --against
llama.cpp` starts it.
"""

import protocol

protocol.require(llama_cpp="llama-cpp-python")

import sys  # noqa: E402
import time  # noqa: E402

import llama_cpp  # noqa: E402

BATCH, CONTEXT = 512, 1024


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    start = time.perf_counter()
    model = llama_cpp.Llama(
        path, n_ctx=CONTEXT, n_batch=BATCH, n_ubatch=BATCH, n_threads=threads, n_threads_batch=threads, n_gpu_layers=0,
        verbose=False,
    )  # fmt: skip
    load_seconds = time.perf_counter() - start

    def read(tokens):
        model.eval(tokens)
        llama_cpp.llama_get_logits(model.ctx)  # waits

    def write(question):
        """Seconds to read `prompt` tokens, and to write `written` behind them: `times`, after once for nothing."""
        prompt, written = question["prompt"], question["written"]
        ids = [(index * 7919 + 13) % min(model.n_vocab(), 30_000) for index in range(prompt + written)]
        read_seconds, seconds = [], []
        for _ in range(question["times"] + 1):
            model.reset()
            start = time.perf_counter()
            read(ids[:prompt])
            behind = time.perf_counter()
            for token in ids[prompt:]:
                read([token])
            read_seconds.append(behind - start)
            seconds.append(time.perf_counter() - behind)
        return {"read_seconds": read_seconds[1:], "seconds": seconds[1:]}

    hello = {"program": f"llama.cpp ({llama_cpp.__version__})", "load_seconds": load_seconds}
    protocol.serve(hello, {"write": write})


main()
