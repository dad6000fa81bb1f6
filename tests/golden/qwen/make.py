"""Make the tokens, next tokens and the perplexity that gllm must reproduce with the real Qwen2.5-Coder-0.5B-Instruct.

Usage: python tests/golden/qwen/make.py [MODEL.gguf]

The model is qwen2.5-coder-0.5b-instruct-q4_k_m.gguf, by default the one in gllm's store; without it nothing is made.
Everything is computed by llama.cpp with f32 keys and values. Writes beside this file:

texts.json     a list of strings, in NFC: llama.cpp doesn't normalise them, the model's own tokenizer does
tokens.json    the ids of each text, special tokens in it taken for what they are
ids.bin        the first 40 windows of 512 ids, as little-endian u32, of docstrings of Python's standard library
expected.json  of the second half of each window, the perplexity; of the prompts that are the first N tokens of each
               window, the most likely next token and its logarithmic probability
"""

import json
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import llama_cpp
import numpy as np

OUT = Path(__file__).parent
NAME = "qwen2.5-coder-0.5b-instruct"
STORED = Path.home() / ".gllm/models/Qwen--Qwen2.5-Coder-0.5B-Instruct-GGUF" / f"{NAME}-q4_k_m.gguf"
WINDOWS, WINDOW = 40, 512
PROMPTS = [24, 97, 211, 360, 512]  # lengths
TEXTS = 200
THREADS = 1

OWN = [
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|>", "a<|im_end|>b", "<|fim_prefix|>def f(<|fim_suffix|>):\n<|fim_middle|>", "<|im_start |> <im_start>",
    "<tool_call>\n{\"name\": \"f\"}\n</tool_call>", "<|repo_name|>x<|file_sep|>y.py",
    "if (a&&b||!c) { return x->y[i]++ <<= 2; }", "std::vector<std::pair<int, float>> v{{1, 2.f}};",
    "let x = foo?.bar ?? baz; // comment", "\t\tindented\twith\ttabs", "        eight spaces", " " * 17 + "x", "\n\n\n\n",
    "\r\n\r\nwindows\r\n", "trailing spaces   ", "don't DON'T I'Ve we'll WE'LL it's IT'S they'd ''s",
    "x=1;y=22;z=333;w=4444;v=55555", "1234567890 3.14 1e10 0x1F 0b101 1_000", "१२३ ٤٥٦ ㊀㊁ Ⅷ ½",
    "#include <stdio.h>\nint main(void) { printf(\"%d\\n\", 42); return 0; }\n",
    "SELECT * FROM t WHERE a='b' AND c<>d;", "#!/usr/bin/env bash\nset -euo pipefail\necho \"${x:-y}\" | tr a-z A-Z\n",
    "public static void main(String[] args) throws IOException {", "<T: Clone + 'a> where T: Into<String>",
    "- [ ] todo\n- [x] done\n  1. nested\n", "key: &anchor\n  - *anchor\n  - !!str 5\n", "$x^2_{ij}$ \\alpha\\beta",
    "日本語、混ぜたtextと123と🎉", "한국어와 English를 섞은 문장입니다.", "Ünïcödé wörds, naïve façade", "ăâîșț ŁódŹ ĐđĆć",
    "mañana será otro día ¿no?", "Это предложение с числами 2024 и знаками — «кавычки».", "👩🏽‍💻🧑‍🚀🏴󠁧󠁢󠁥󠁮󠁧󠁿", "ⓐⓑⓒ ＦＵＬＬ ｗｉｄｔｈ",
    "a\u200bb\u200cc\u200dd\ufeffe", "\u00a0\u2003\u3000mixed\u00a0spaces\u2003", "\x01\x02\x7f\x80\x9f", "\u202eright to left\u202c",
]  # fmt: skip


def corpus():
    """Docstrings, one a line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.txt"
        script = OUT.parents[2] / "benches/corpus.py"
        subprocess.run([sys.executable, script, path], check=True, stdout=subprocess.DEVNULL)
        return path.read_text(encoding="utf8")


def texts(corpus):
    minilm = json.loads((OUT.parent / "minilm/texts.json").read_text(encoding="utf8"))
    chosen = OWN + [text for text in minilm if 0 < len(text) <= 400]
    chosen += [line for line in reversed(corpus.splitlines()) if len(line) <= 200]
    # llama.cpp takes a text for C's, and `</s>` for an end, which the model doesn't have.
    chosen = [unicodedata.normalize("NFC", text) for text in chosen if "\x00" not in text and "</s>" not in text]
    return list(dict.fromkeys(chosen))[:TEXTS]


def write(name, value):
    (OUT / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf8")


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else STORED
    if not path.exists():
        print(f"skipped: no {path}; `gllm pull {NAME}` gets it")
        return
    model = llama_cpp.Llama(
        str(path), n_ctx=WINDOW, n_batch=WINDOW, n_ubatch=WINDOW, logits_all=True, n_threads=THREADS,
        n_threads_batch=THREADS, type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32, n_gpu_layers=0,
        verbose=False,
    )  # fmt: skip
    tokenize = lambda text: model.tokenize(text.encode(), add_bos=False, special=True)
    lines = corpus()
    chosen = texts(lines)
    write("texts.json", chosen)
    write("tokens.json", [tokenize(text) for text in chosen])

    ids = np.array(tokenize(lines)[: WINDOWS * WINDOW], dtype="<u4").reshape(WINDOWS, WINDOW)
    (OUT / "ids.bin").write_bytes(ids.tobytes())
    losses, prompts = [], []
    for number, window in enumerate(ids):
        model.reset()
        model.eval(window.tolist())
        logits = model.scores[:WINDOW].astype(np.float64)
        top = logits.max(axis=1)
        logarithms = logits - (top + np.log(np.exp(logits - top[:, None]).sum(axis=1)))[:, None]
        scored = np.arange(WINDOW // 2, WINDOW)
        losses.append(-logarithms[scored - 1, window[scored]])
        for length in PROMPTS:
            row = logarithms[length - 1]
            next_id = int(row.argmax())
            gap = float(row[next_id] - np.partition(row, -2)[-2])
            prompts.append({"window": number, "tokens": length, "next": next_id, "logprob": round(float(row[next_id]), 6), "lead": round(gap, 6)})  # fmt: skip
        print(f"{number + 1} of {WINDOWS}: {np.exp(np.mean(losses)):.4f}", flush=True)
    write("expected.json", {"perplexity": float(np.exp(np.mean(losses))), "prompts": prompts})


if __name__ == "__main__":
    main()
