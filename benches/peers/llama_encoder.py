"""llama.cpp as an encoder, of a model in GGUF: `cargo xtask bench embed --against llama.cpp` starts it.

llama-cpp-python computes as many texts at once as it lets a context have, which may be one.
"""

import protocol

protocol.require(llama_cpp="llama-cpp-python", numpy="numpy")

import argparse  # noqa: E402
import time  # noqa: E402

import llama_cpp  # noqa: E402
import numpy as np  # noqa: E402

BATCH = 2048  # tokens


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--tokens", type=int)
    options = parser.parse_args()
    model = llama_cpp.Llama(
        options.model, embedding=True, n_ctx=BATCH, n_batch=BATCH, n_ubatch=BATCH, n_threads=options.threads,
        n_threads_batch=options.threads, n_gpu_layers=0, verbose=False,
    )  # fmt: skip

    def embed(question):
        with open(question["input"], encoding="utf8") as file:
            texts = [line for line in file.read().split("\n") if line.strip()]
        seconds, tokens, vectors = [], 0, []
        for request in [[text] for text in texts] if question.get("each") else [texts]:
            start = time.perf_counter()
            rows, count = run(request)
            seconds.append(time.perf_counter() - start)
            tokens += count
            vectors += rows
        if question.get("output"):
            np.asarray(vectors, "<f4").tofile(question["output"])
        return {"seconds": seconds, "tokens": tokens}

    def run(texts):
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        vectors, count = model.embed([cut(texts[index]) for index in order], normalize=True, return_count=True)
        rows = dict(zip(order, vectors))
        return [rows[index] for index in range(len(texts))], count

    def cut(text):
        ids = model.tokenize(text.encode(), add_bos=True, special=False)
        if options.tokens and len(ids) > options.tokens:
            return model.detokenize(ids[1 : options.tokens - 1]).decode(errors="ignore")
        return text

    protocol.serve({"program": f"llama.cpp ({llama_cpp.__version__})"}, {"embed": embed})


main()
