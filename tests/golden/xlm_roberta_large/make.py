"""A cross-encoder of real size, XLM-RoBERTa-large with made-up weights, and what transformers answers with it.

Usage: HF_HUB_OFFLINE=1 python tests/golden/xlm_roberta_large/make.py

The weights (2.2 GB) aren't kept: they are a function of a tensor's place in `tensors.json` and of an element's place
in the tensor, which `tests/xlm_roberta_large.rs` computes bit for bit like `values` here. Kept is what lies around
them in files that transformers and torch write themselves: `config.json`, `model.safetensors.index.json`, and
`data.pkl`, the pickle of a `pytorch_model.bin`. `logits.npy` and `logits_f16.npy` (float32 [pairs, 1], one pair at a
time, float32 arithmetic, eager attention) hold the answers, the second with weights that were rounded to float16.

Takes 90 seconds on two cores, 6 GB of memory, and 2.3 GB of disk for temporary files.
"""

import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoTokenizer, XLMRobertaConfig, XLMRobertaForSequenceClassification
from transformers.utils import logging

sys.path.append(str(Path(__file__).parents[1]))
import tiny  # noqa: E402

OUT = Path(__file__).parent
TOKENIZER = tiny.FAMILIES / "xlm_roberta/reranker"
LIMIT = 512
CHUNK = 1 << 20

QUERY = "What is the way back?"
PASSAGE = """
After the state was new there were no more men like him in it, and people who had been many years in the good
old world did not know what they should do with their work.
"""
WORDS = tiny.LONG.split()
PAIRS = [
    (QUERY, "It may be long, but you would know it."),
    (QUERY, " ".join(PASSAGE.split())),
    (QUERY, ""),
    (QUERY, "Working people never see the great documents they made!"),
    ("a", "b"),
    ("caf\u00e9 \u65e5\u672c\u8a9e", "CAF\u00c9 cafe\u0301 \U0001f600 \u65e5\u672c\u8a9e is \uff26\uff55\uff4c\uff4c"),
    ("how long is the passage", " ".join(WORDS[::-1])),
    ("who made the first state", " ".join(WORDS * 4)),
]


def scale_and_offset(name):
    """Powers of two, which JSON and float32 hold exactly."""
    if name == "roberta.embeddings.word_embeddings.weight":
        return 1.0, 0.0
    if name.endswith("LayerNorm.weight"):
        return 0.125, 1.0
    if "_embeddings." in name or name == "classifier.out_proj.weight":
        return 0.5, 0.0
    return 0.0625, 0.0


def values(tensor, start, end, scale, offset):
    """Elements of tensor number `tensor`: the finaliser of SplitMix64 as the source of 24 random bits."""
    x = np.arange(start, end, dtype=np.uint64) | np.uint64(tensor << 40)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    unit = (x >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)
    return unit * np.float32(scale) + np.float32(offset)


def fill(model):
    for tensor, (name, parameter) in enumerate(model.state_dict().items()):
        flat = parameter.view(-1).numpy()
        for start in range(0, len(flat), CHUNK):
            end = min(start + CHUNK, len(flat))
            flat[start:end] = values(tensor, start, end, *scale_and_offset(name))


def logits(model, tokenizer):
    """One pair at a time; of a pair given as two texts, transformers drops an empty second one."""
    limit = {"truncation": "longest_first", "max_length": LIMIT}
    with torch.no_grad():
        rows = [model(**tokenizer([list(pair)], return_tensors="pt", **limit)).logits[0] for pair in PAIRS]
    return torch.stack(rows).numpy()


def in_safetensors(path):
    """The tensors of one file: shape and type by name."""
    with safe_open(path, "pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}
        return {name: (one.get_shape(), one.get_dtype()) for name, one in slices.items()}


def check_and_keep_files(model, tensors):
    """Saves the model in every form of the test, checks its tensors against `tensors`, and keeps what is small."""
    expected = {one["name"]: (one["shape"], "F32") for one in tensors}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model.save_pretrained(folder, max_shard_size="5GB")
        assert in_safetensors(folder / "model.safetensors") == expected
        shutil.copy(folder / "config.json", OUT)

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model.save_pretrained(folder, max_shard_size="500MB")
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        shards = {path.name: in_safetensors(path) for path in folder.glob("*.safetensors")}
        assert {name: shard for shard, inside in shards.items() for name in inside} == index["weight_map"]
        assert {name: one for inside in shards.values() for name, one in inside.items()} == expected
        shutil.copy(folder / "model.safetensors.index.json", OUT)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pytorch_model.bin"
        torch.save(model.state_dict(), path)
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename.removeprefix("pytorch_model/"): entry for entry in archive.infolist()}
            assert all(entry.compress_type == zipfile.ZIP_STORED for entry in entries.values())
            for tensor, one in enumerate(tensors):
                assert entries[f"data/{tensor}"].file_size == 4 * np.prod(one["shape"]), one
            assert f"data/{len(tensors)}" not in entries
            assert archive.read("pytorch_model/byteorder") == b"little"
            assert archive.read("pytorch_model/version") == b"3\n"
            (OUT / "data.pkl").write_bytes(archive.read("pytorch_model/data.pkl"))
        loaded = torch.load(path, mmap=True)
        assert {name: (list(one.shape), "F32") for name, one in loaded.items()} == expected
        # The pickle names storages by number: each must be the tensor of that number.
        for tensor, (name, one) in enumerate(loaded.items()):
            assert name == tensors[tensor]["name"] and one.dtype == torch.float32
            first = values(tensor, 0, min(CHUNK, one.numel()), *scale_and_offset(name))
            np.testing.assert_array_equal(one.view(-1)[: len(first)].numpy(), first)


def main():
    torch.set_num_threads(2)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    shutil.copy(TOKENIZER / "tokenizer.json", OUT)
    shutil.copy(TOKENIZER / "tokenizer_config.json", OUT)
    tiny.edit_json(OUT / "tokenizer_config.json", model_max_length=LIMIT)
    tiny.check_tokenizer(OUT, [list(pair) for pair in PAIRS[:-1]])
    tokenizer = AutoTokenizer.from_pretrained(OUT)
    (OUT / "pairs.json").write_text(json.dumps({"pairs": PAIRS}, indent=2) + "\n")

    shape = {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096, "num_hidden_layers": 24}
    others = {"vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    config = XLMRobertaConfig(**shape, **others, num_labels=1, attn_implementation="eager")
    model = XLMRobertaForSequenceClassification(config).eval()
    fill(model)
    tensors = []
    for name, one in model.state_dict().items():
        scale, offset = scale_and_offset(name)
        tensors.append({"name": name, "shape": list(one.shape), "scale": scale, "offset": offset})
    lines = [json.dumps(one) for one in tensors]
    (OUT / "tensors.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    check_and_keep_files(model, tensors)

    found = logits(model, tokenizer)
    np.save(OUT / "logits.npy", found)
    halved = logits(model.half().float(), tokenizer)
    np.save(OUT / "logits_f16.npy", halved)
    fill(model)
    exact = logits(model.double(), tokenizer)
    print("tokens:", [len(tokenizer([list(pair)])["input_ids"][0]) for pair in PAIRS])
    print("logits:", found.ravel(), "float16:", halved.ravel(), "float64:", exact.ravel())
    print("float32 differs from float64 by", np.abs(found - exact).max())
    assert np.abs(found - exact).max() < 2e-5


if __name__ == "__main__":
    main()
