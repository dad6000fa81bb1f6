"""Mistral as an embedding model. Usage: python tests/golden/families/mistral/make.py

`embedding` has the files and fields of e5-mistral-7b-instruct. `add_eos_token` in its `tokenizer_config.json` says that
a text gets a token at its end. `tokenizer.json` doesn't have it; transformers 4 adds it, and so the model was trained,
but version 5 doesn't read the field, so it is told here.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

import numpy as np
import tiny
import torch
from decoder_tokenizers import llama
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tiny import LIMIT, TEXTS
from transformers import MistralConfig, MistralModel

QUERY = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "


def save(folder, seed, modules, **prompts):
    tokenizer = llama(LIMIT)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 512}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 16}
    config = MistralConfig(vocab_size=len(tokenizer), **sizes, **heads, dtype="bfloat16", rms_norm_eps=1e-5)
    model = tiny.randomize(MistralModel(config), seed)
    tiny.save_embedding(folder, model.to(torch.bfloat16), tokenizer, modules)
    old = {"rope_theta": 10000.0, "torch_dtype": "bfloat16", "transformers_version": "4.34.0"}
    tiny.edit_json(folder / "config.json", ["rope_parameters", "dtype"], **old)
    tiny.edit_json(folder / "config_sentence_transformers.json", prompts=prompts)


def case_embedding(folder):
    save(folder, 711, [Pooling(32, "lasttoken"), Normalize()], web_search_query=QUERY)
    added = {"add_bos_token": True, "add_eos_token": True}
    tiny.edit_json(folder / "tokenizer_config.json", tokenizer_class="LlamaTokenizer", **added)


def case_mean(folder):
    save(folder, 712, [Pooling(32, "mean")])


def write_embeddings(folder):
    tiny.check_tokenizer(folder, TEXTS)
    model = tiny.load(folder, SentenceTransformer)
    ends = folder.name == "embedding"
    if ends:
        model.tokenizer.add_bos_token, model.tokenizer.add_eos_token = True, True
    for ids in model.tokenizer(TEXTS, truncation=True, max_length=LIMIT)["input_ids"]:
        assert ids[0] == 1 and (ids[-1] == 2) == ends, ids
    np.save(folder / "expected.npy", model.encode(TEXTS, batch_size=1))
    np.save(folder / "hidden.npy", model.encode(TEXTS[:1], output_value="token_embeddings")[0].numpy())


if __name__ == "__main__":
    tiny.run(__file__, [case_embedding, case_mean], embedding=write_embeddings, mean=write_embeddings)
