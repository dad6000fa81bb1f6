"""BERT as reranker and as SPLADE model. Usage: python tests/golden/families/bert/make.py"""

import json
import sys
from pathlib import Path

from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

sys.path.append(str(Path(__file__).parents[2]))
import tiny  # noqa: E402


def model(seed, model_class=BertForSequenceClassification, **config):
    tokenizer = tiny.wordpiece()
    shape = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 48, "num_hidden_layers": 1}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **{**shape, "num_labels": 1, **config})
    return tiny.randomize(model_class(config), seed), tokenizer


def splade(seed):
    masked_lm, tokenizer = model(seed, BertForMaskedLM)
    return tiny.thin(masked_lm), tokenizer


def case_reranker(folder):
    tiny.save_reranker(folder, *model(1, num_hidden_layers=2))


def case_reranker_identity(folder):
    tiny.save_reranker(folder, *model(2), activation_fn=nn.Identity())


def case_reranker_plain(folder):
    """Saved by transformers alone."""
    tiny.save_plain(folder, *model(3))


def case_reranker_config_activation(folder):
    """The field that sentence-transformers 4 and 5 put into config.json; no other file of theirs."""
    tiny.save_plain(folder, *model(4))
    field = {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0"}
    tiny.edit_json(folder / "config.json", sentence_transformers=field)


def case_reranker_legacy_activation(folder):
    """The field that sentence-transformers put into config.json before version 4."""
    tiny.save_plain(folder, *model(5))
    field = "torch.nn.modules.linear.Identity"
    tiny.edit_json(folder / "config.json", sbert_ce_default_activation_function=field)


def case_reranker_three_labels(folder):
    tiny.save_reranker(folder, *model(6, num_labels=3))


def case_splade(folder):
    tiny.save_splade(folder, *splade(7))


def case_splade_plain(folder):
    """Saved by transformers alone."""
    tiny.save_plain(folder, *splade(8))


def case_splade_sum(folder):
    tiny.save_splade(folder, *splade(9), pooling_strategy="sum", activation_function="log1p_relu")


def case_splade_legacy_files(folder):
    """The weights of `splade` in the files that sentence-transformers 5.0 published."""
    case_splade(folder)
    package = "sentence_transformers.sparse_encoder.models"
    modules = [("", "MLMTransformer"), ("1_SpladePooling", "SpladePooling")]
    content = [
        {"idx": idx, "name": str(idx), "path": path, "type": f"{package}.{module}"}
        for idx, (path, module) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(content, indent=2) + "\n")
    size = {"word_embedding_dimension": len(tiny.wordpiece())}
    tiny.edit_json(folder / "1_SpladePooling/config.json", ["embedding_dimension"], **size)
    limit = {"max_seq_length": tiny.LIMIT, "do_lower_case": False}
    (folder / "sentence_bert_config.json").write_text(json.dumps(limit, indent=2) + "\n")


CASES = [
    case_reranker,
    case_reranker_identity,
    case_reranker_plain,
    case_reranker_config_activation,
    case_reranker_legacy_activation,
    case_reranker_three_labels,
    case_splade,
    case_splade_plain,
    case_splade_sum,
    case_splade_legacy_files,
]

if __name__ == "__main__":
    tiny.run(__file__, CASES)
