"""ModernBERT: rotary positions, global and local layers. Usage: python tests/golden/families/modernbert/make.py"""

import sys
from pathlib import Path

from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import ModernBertConfig, ModernBertForMaskedLM, ModernBertForSequenceClassification, ModernBertModel

sys.path.append(str(Path(__file__).parents[2]))
import tiny  # noqa: E402

GLOBAL, LOCAL = 1000.0, 100.0


def model(seed, model_class=ModernBertModel, **config):
    tokenizer = tiny.modernbert()
    shape = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 32}
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
    defaults = {
        "num_hidden_layers": 4,
        "max_position_embeddings": 64,
        "global_attn_every_n_layers": 3,
        "local_attention": 8,
        "bos_token_id": special["cls_token_id"],
        "eos_token_id": special["sep_token_id"],
        "num_labels": 1,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": GLOBAL},
            "sliding_attention": {"rope_type": "default", "rope_theta": LOCAL},
        },
    }
    config = ModernBertConfig(vocab_size=len(tokenizer), **shape, **special, **{**defaults, **config})
    return tiny.randomize(model_class(config), seed), tokenizer


def case_mean(folder):
    tiny.save_embedding(folder, *model(1), [Pooling(24, "mean"), Normalize()])


def case_cls_biases(folder):
    biases = {"norm_bias": True, "attention_bias": True, "mlp_bias": True}
    tiny.save_embedding(folder, *model(2, **biases), [Pooling(24, "cls"), Normalize()])


def case_published_fields(folder):
    """A masked LM saved by transformers alone, with the fields of config.json that the family was published with."""
    tiny.save_plain(folder, *model(3, ModernBertForMaskedLM, local_attention=10))
    older = {
        "global_attn_every_n_layers": 3,
        "global_rope_theta": GLOBAL,
        "local_rope_theta": LOCAL,
        "layer_norm_eps": 1e-05,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        "transformers_version": "4.47.0.dev0",
    }
    tiny.edit_json(folder / "config.json", ["rope_parameters", "layer_types", "dtype"], **older)


def case_reranker_cls(folder):
    tiny.save_reranker(folder, *model(4, ModernBertForSequenceClassification, num_hidden_layers=2))


def case_reranker_mean(folder):
    pooling = {"classifier_pooling": "mean", "classifier_bias": True, "num_hidden_layers": 2}
    tiny.save_reranker(folder, *model(5, ModernBertForSequenceClassification, **pooling))


CASES = [case_mean, case_cls_biases, case_published_fields, case_reranker_cls, case_reranker_mean]

if __name__ == "__main__":
    tiny.run(__file__, CASES)
