"""Make a tiny random model with the files of BAAI/bge-m3, and what FlagEmbedding's formulas give with it.

Usage: python tests/golden/bge_m3/make.py

Writes beside this file `model/` (weights in pytorch_model.bin only) and `model-sharded-bin/` (the same weights in two
files and an index), and for both, one text at a time, in float32:

- `dense.npy`: one row per text of families/texts.json;
- `sparse.json`: per text an object of token id and weight;
- `colbert_00.npy`, ...: per text a row for every token but the first;
- `scores.json`: for families/pairs.json the three scores and their weighted mean.
"""

import json
import shutil
import sys
from collections import OrderedDict
from pathlib import Path

OUT = Path(__file__).parent
sys.path.insert(0, str(OUT.parent))

import numpy as np
import torch
from published import encode, write_json, write_modules
from tiny import LIMIT, PAIRS, TEXTS, randomize, unigram
from torch.nn import Linear
from torch.nn.functional import normalize
from transformers import XLMRobertaConfig, XLMRobertaModel
from transformers.utils import logging

SIZE = 24
WEIGHTS = {"dense": 0.4, "sparse": 0.2, "colbert": 0.4}
CONFIG = {
    "_name_or_path": "",
    "architectures": ["XLMRobertaModel"],
    "attention_probs_dropout_prob": 0.1,
    "bos_token_id": 0,
    "classifier_dropout": None,
    "eos_token_id": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": SIZE,
    "initializer_range": 0.02,
    "intermediate_size": 48,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": LIMIT + 2,
    "model_type": "xlm-roberta",
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "output_past": True,
    "pad_token_id": 1,
    "position_embedding_type": "absolute",
    "torch_dtype": "float32",
    "transformers_version": "4.33.0",
    "type_vocab_size": 1,
    "use_cache": True,
}


class M3:
    """FlagEmbedding's EncoderOnlyEmbedderM3ModelForInference and M3Embedder, for one text."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.config = {**CONFIG, "vocab_size": len(tokenizer)}
        options = {name: value for name, value in self.config.items() if name not in ("model_type", "torch_dtype")}
        config = XLMRobertaConfig(**options, attn_implementation="eager")
        self.encoder = randomize(XLMRobertaModel(config), 331)
        # The published heads are stored in half precision.
        self.sparse_linear = Linear(SIZE, 1).half()
        self.colbert_linear = Linear(SIZE, SIZE).half()
        with torch.no_grad():
            for parameter in [*self.sparse_linear.parameters(), *self.colbert_linear.parameters()]:
                parameter.copy_(torch.randn(parameter.shape) * 0.3)
            # About half of the tokens get a weight.
            self.sparse_linear.bias.fill_(1.5)

    def __call__(self, text):
        ids, _ = encode(self.tokenizer, text)
        hidden = self.encoder(ids).last_hidden_state[0]
        return {
            "dense": self.dense(hidden),
            "sparse": self.sparse(hidden, ids[0].tolist()),
            "colbert": self.colbert(hidden),
        }

    def dense(self, hidden):
        """_dense_embedding, normalised by forward."""
        return normalize(hidden[0], dim=0)

    def sparse(self, hidden, ids):
        """_sparse_embedding and _process_token_weights: the largest weight of each token, without special tokens."""
        weights = hidden @ self.sparse_linear.weight.float().T + self.sparse_linear.bias.float()
        tokens = self.tokenizer
        unused = {tokens.cls_token_id, tokens.eos_token_id, tokens.pad_token_id, tokens.unk_token_id}
        found = {}
        for token, weight in zip(ids, weights[:, 0].relu().tolist(), strict=True):
            if token not in unused and weight > 0:
                found[token] = max(weight, found.get(token, 0.0))
        return found

    def colbert(self, hidden):
        """_colbert_embedding and _process_colbert_vecs: without the first token, but with the last."""
        weight, bias = self.colbert_linear.weight.float(), self.colbert_linear.bias.float()
        return normalize(hidden[1:] @ weight.T + bias, dim=1)


def scores(query, passage):
    """M3Embedder's compute_lexical_matching_score, colbert_score and the weighted mean of compute_score."""
    found = {
        "dense": float(query["dense"] @ passage["dense"]),
        "sparse": sum(weight * passage["sparse"].get(token, 0.0) for token, weight in query["sparse"].items()),
        "colbert": float((query["colbert"] @ passage["colbert"].T).max(1).values.mean()),
    }
    found["hybrid"] = sum(WEIGHTS[name] * found[name] for name in WEIGHTS) / sum(WEIGHTS.values())
    return found


def save_plain(folder, m3):
    folder.mkdir()
    write_json(folder / "config.json", m3.config)
    versions = {"sentence_transformers": "2.2.2", "transformers": "4.33.0", "pytorch": "2.1.2+cu121"}
    write_json(folder / "config_sentence_transformers.json", {"__version__": versions})
    write_modules(folder, SIZE, "cls", True)
    m3.tokenizer.save_pretrained(folder)
    for name in ("sparse_linear", "colbert_linear"):
        state = getattr(m3, name).state_dict()
        torch.save(OrderedDict((key, tensor.clone()) for key, tensor in state.items()), folder / f"{name}.pt")


def save(folder, m3):
    save_plain(folder, m3)
    torch.save(m3.encoder.state_dict(), folder / "pytorch_model.bin")


def save_sharded(folder, m3):
    """As transformers cuts its files."""
    save_plain(folder, m3)
    state = m3.encoder.state_dict()
    first = {name: tensor for name, tensor in state.items() if name.startswith("embeddings.")}
    second = {name: tensor for name, tensor in state.items() if name not in first}
    places = {}
    for number, shard in enumerate((first, second), 1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save(shard, folder / file)
        places.update(dict.fromkeys(shard, file))
    size = sum(tensor.nbytes for tensor in state.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    write_json(folder / "pytorch_model.bin.index.json", index)


def main():
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    for path in OUT.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix in (".npy", ".json"):
            path.unlink()
    # Saved before it is used: a call leaves its limits in the tokenizer.
    m3 = M3(unigram())
    save(OUT / "model", m3)
    save_sharded(OUT / "model-sharded-bin", m3)
    with torch.no_grad():
        texts = [m3(text) for text in TEXTS]
        pairs = [scores(m3(query), m3(passage)) for query, passage in PAIRS]
    np.save(OUT / "dense.npy", torch.stack([text["dense"] for text in texts]).numpy())
    for number, text in enumerate(texts):
        np.save(OUT / f"colbert_{number:02}.npy", text["colbert"].numpy())
    sparse = [{str(token): weight for token, weight in text["sparse"].items()} for text in texts]
    (OUT / "sparse.json").write_text(json.dumps(sparse, indent=2) + "\n")
    columns = {name: [pair[name] for pair in pairs] for name in (*WEIGHTS, "hybrid")}
    write_json(OUT / "scores.json", {"weights": WEIGHTS, **columns})


if __name__ == "__main__":
    main()
