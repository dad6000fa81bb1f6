"""Convert tiny models of the other folders to GGUF with llama.cpp's own converter.

Usage: LLAMA_CPP=<source of llama.cpp> python tests/golden/gguf_models/make.py

Writes beside this file `<family>-<type>.gguf`. What a file should answer is `expected.npy` of the model that it comes
from, normalised; where its weights are rounded, `<family>-<type>.npy`, which sentence-transformers answers with the
rounded weights, as the `gguf` package reads them, in the model that they come from.
"""

import shutil
import sys
import tempfile
from pathlib import Path

OUT = Path(__file__).parent
sys.path.insert(0, str(OUT.parent))

import gguf
import numpy as np
import tiny
import torch
from converter import convert
from safetensors.torch import load_file, save_file
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tiny import TEXTS
from transformers import BertConfig, BertForSequenceClassification, BertModel


def rounded(model, path, arch, layers):
    """Puts the weights of the GGUF file at `path` into the checkpoint in `model`."""
    names = gguf.get_tensor_name_map(arch, layers)
    tensors = gguf.GGUFReader(path).tensors
    found = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in tensors}
    weights = load_file(model / "model.safetensors")
    used = set()
    for name, weight in weights.items():
        in_gguf = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if in_gguf in found:
            used.add(in_gguf)
            weights[name] = torch.from_numpy(found[in_gguf].astype(np.float32).reshape(weight.shape).copy())
    assert used == set(found), set(found) - used
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def bert(seed, pooling):
    """Wide enough for blocks of 32."""
    tokenizer = tiny.wordpiece()
    shape = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 2}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **shape)
    model = tiny.randomize(BertModel(config, add_pooling_layer=False), seed)
    return model, tokenizer, [Pooling(32, pooling), Normalize()]


def write_bert():
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        tiny.save_embedding(model, *bert(501, "cls"))
        np.save(OUT / "bert-f32.npy", tiny.load(model, tiny.SentenceTransformer).encode(TEXTS, batch_size=1))
        for kind in ("f32", "f16", "bf16", "q8_0"):
            path = OUT / f"bert-{kind}.gguf"
            convert(model, path, kind)
            if kind != "f32":
                copy = Path(folder) / kind
                shutil.copytree(model, copy)
                rounded(copy, path, gguf.MODEL_ARCH.BERT, 2)
                answers = tiny.load(copy, tiny.SentenceTransformer).encode(TEXTS, batch_size=1)
                np.save(OUT / f"bert-{kind}.npy", answers)


def write_families():
    """Models whose answers are in their own folders."""
    families = OUT.parent / "families"
    for case, pre in {
        "roberta/mean": "roberta-bpe",
        "roberta/reranker": "roberta-bpe",
        "xlm_roberta/cls-published-tokenizer": "default",
        "distilbert/mean": "default",
        "distilbert/reranker": "default",
        "nomic_bert/embedding": "default",
        "jina_bert/embedding": "default",
        "modernbert/mean": "modern-bert",
        "modernbert/reranker-cls": "modern-bert",
        "modernbert/reranker-mean": "modern-bert",
        "qwen3/embedding": "qwen2",
        "qwen3/reranker": "qwen2",
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model"
            shutil.copytree(families / case, model)
            prepare(case, model)
            convert(model, OUT / f"{case.replace('/', '-')}.gguf", "f32", pre)


def prepare(case, model):
    """What the converter asks of the folder of a model."""
    if case.startswith("jina_bert"):
        # The published models' own; transformers 5 writes no `tokenizer_class` for a tokenizer of this class.
        tiny.edit_json(model / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    if case == "qwen3/reranker":
        # What tells it from a model that writes text.
        (model / "README.md").write_text("# Qwen3-Reranker-0.6B\n")


def main():
    write_bert()
    write_families()


if __name__ == "__main__":
    main()
