"""XLM-RoBERTa: RoBERTa over Unigram pieces. Usage: python tests/golden/families/xlm_roberta/make.py"""

import sys
from pathlib import Path

from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaModel

sys.path.append(str(Path(__file__).parents[2]))
import tiny  # noqa: E402


def model(seed, tokenizer, model_class=XLMRobertaModel, layers=1):
    shape = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 48, "num_hidden_layers": layers}
    defaults = {"max_position_embeddings": 50, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "num_labels": 1}
    config = XLMRobertaConfig(vocab_size=len(tokenizer), **shape, **defaults)
    return tiny.randomize(model_class(config), seed), tokenizer


def case_mean(folder):
    tiny.save_embedding(folder, *model(1, tiny.unigram(), layers=2), [Pooling(24, "mean"), Normalize()])


def case_cls_published_tokenizer(folder):
    tiny.save_embedding(folder, *model(2, tiny.unigram_split()), [Pooling(24, "cls"), Normalize()])


def case_reranker(folder):
    tiny.save_reranker(folder, *model(3, tiny.unigram_split(), XLMRobertaForSequenceClassification))


def case_reranker_plain(folder):
    """Saved by transformers alone, as rerankers of this family are published."""
    tiny.save_plain(folder, *model(4, tiny.unigram(), XLMRobertaForSequenceClassification))


CASES = [case_mean, case_cls_published_tokenizer, case_reranker, case_reranker_plain]

if __name__ == "__main__":
    tiny.run(__file__, CASES)
