"""What the generators of models share whose code lives beside their weights on the Hub, not in a library.

Such models are written here tensor by tensor, with the names and the files of the published repositories.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tiny import LIMIT, PAIRS, TEXTS
from torch.nn.functional import normalize
from transformers.utils import logging


def random_weights(seed, shapes):
    """Random tensors by name: large weights, and biases and norms that matter; as `tiny.randomize`."""
    torch.manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        if "word_embeddings" in name:
            mean, deviation = 0.0, 1.0
        elif name.endswith("bias"):
            mean, deviation = 0.0, 0.1
        elif len(shape) == 1:
            mean, deviation = 1.0, 0.3
        else:
            mean, deviation = 0.0, 0.3
        weights[name] = torch.randn(shape) * deviation + mean
    return weights


def linear(name, inputs, outputs, bias=True):
    shapes = {f"{name}.weight": (outputs, inputs)}
    return {**shapes, f"{name}.bias": (outputs,)} if bias else shapes


def norm(name, size):
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def prefixed(prefix, shapes):
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


def write_json(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_model(folder, config, weights, tokenizer):
    write_json(folder / "config.json", config)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)


def write_modules(folder, size, pooling, normalized):
    """The JSON files that sentence-transformers 2 published."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")][: 3 if normalized else 2]
    modes = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "sqrt_len": "mean_sqrt_len_tokens"}
    write_json(
        folder / "modules.json",
        [
            {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{module}"}
            for idx, (path, module) in enumerate(modules)
        ],
    )
    pooling_modes = {f"pooling_mode_{name}": mode == pooling for mode, name in modes.items()}
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": size, **pooling_modes})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": LIMIT, "do_lower_case": False})


def encode(tokenizer, *texts):
    """The ids and token types of a text or a pair, each [1, seq]."""
    # Lists, because transformers drops the second text of a lone pair when it is empty.
    encoding = tokenizer(*([text] for text in texts), truncation="longest_first", max_length=LIMIT)
    ids = torch.tensor(encoding["input_ids"])
    types = torch.tensor(encoding["token_type_ids"]) if "token_type_ids" in encoding else torch.zeros_like(ids)
    return ids, types


def expect_embeddings(folder, tokenizer, hidden_states, pooling, normalized):
    """Writes `expected.npy` and `hidden.npy`; `hidden_states` maps ids and types to [1, seq, hidden]."""
    with torch.no_grad():
        hidden = [hidden_states(*encode(tokenizer, text))[0] for text in TEXTS]
    pooled = torch.stack([states[0] if pooling == "cls" else states.mean(0) for states in hidden])
    np.save(folder / "expected.npy", (normalize(pooled) if normalized else pooled).numpy())
    np.save(folder / "hidden.npy", hidden[0].numpy())


def expect_scores(folder, tokenizer, logits):
    """Writes `logits.npy` and `scores.npy`; `logits` maps ids and types to [1, labels]."""
    with torch.no_grad():
        raw = torch.cat([logits(*encode(tokenizer, *pair)) for pair in PAIRS])
    np.save(folder / "logits.npy", raw.numpy())
    np.save(folder / "scores.npy", raw.sigmoid().numpy())


def run(make_file, cases):
    """Writes each case's folder beside `make_file`."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for case in cases:
        folder = Path(make_file).parent / case.__name__.removeprefix("case_").replace("_", "-")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        case(folder)
