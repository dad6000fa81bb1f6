"""Gemma-2 as an embedding model. Usage: python tests/golden/families/gemma2/make.py

`embedding` has the files and fields of SFR-Embedding-Code-2B_R, which has a name of its own for the network.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

import tiny
import torch
from decoder_tokenizers import gemma
from safetensors.torch import load_file, save_file
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tiny import LIMIT
from transformers import Gemma2Config, Gemma2Model


def save(folder, seed, modules):
    tokenizer = gemma(LIMIT)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 512}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12, "query_pre_attn_scalar": 20}
    caps = {"sliding_window": 8, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 30.0}
    config = Gemma2Config(vocab_size=len(tokenizer), **sizes, **heads, **caps, dtype="bfloat16")
    model = tiny.randomize(Gemma2Model(config), seed)
    tiny.save_embedding(folder, model.to(torch.bfloat16), tokenizer, modules)


def case_embedding(folder):
    save(folder, 721, [Pooling(32, "lasttoken")])


def case_mean(folder):
    save(folder, 722, [Pooling(32, "mean"), Normalize()])


def write_embeddings(folder):
    tiny.write_embeddings(folder)
    if folder.name != "embedding":
        return
    # transformers knows neither the name nor where the tensors lie.
    old = {"rope_theta": 10000.0, "torch_dtype": "bfloat16", "transformers_version": "4.45.1"}
    kind = {"model_type": "codexembed2b", "architectures": ["CodeXEmbedModel2B"], "cache_implementation": "hybrid"}
    ours = ["rope_parameters", "dtype", "layer_types", "use_bidirectional_attention"]
    tiny.edit_json(folder / "config.json", ours, **old, **kind)
    path = folder / "model.safetensors"
    weights = {f"model.{name}": tensor for name, tensor in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


if __name__ == "__main__":
    tiny.run(__file__, [case_embedding, case_mean], embedding=write_embeddings, mean=write_embeddings)
