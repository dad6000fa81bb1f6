"""Writes an encoder of random weights in the sizes of a real one, as a checkpoint that everybody loads.

usage: shapes.py minilm|bge-base|xlm-r-large embed|rerank FOLDER

Its tokenizer knows the words w0, w1 and so on, each of which is a token.
"""

import json
import os
import sys

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

BERT = transformers.BertConfig, transformers.BertModel, transformers.BertForSequenceClassification
XLM_R = (
    transformers.XLMRobertaConfig, transformers.XLMRobertaModel, transformers.XLMRobertaForSequenceClassification,
)  # fmt: skip
SHAPES = {
    "minilm": (BERT, "mean", 30_522, 384, 6, 12, 1536),
    "bge-base": (BERT, "cls", 30_522, 768, 12, 12, 3072),
    "xlm-r-large": (XLM_R, "cls", 250_002, 1024, 24, 16, 4096),
}


def main():
    shape, task, folder = sys.argv[1:]
    (config, embedder, reranker), pooling, vocabulary, hidden, layers, heads, inner = SHAPES[shape]
    is_bert = embedder is transformers.BertModel
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] if is_bert else ["<s>", "<pad>", "</s>", "<unk>"]
    start, end, unknown, pad = [specials[i] for i in ((2, 3, 1, 0) if is_bert else (0, 2, 3, 1))]
    tokenizer(specials, start, end, unknown, vocabulary, is_bert).save(os.path.join(part(folder), "tokenizer.json"))
    write(folder, "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "cls_token": start, "sep_token": end, "unk_token": unknown,
        "pad_token": pad, "model_max_length": 512,
    })  # fmt: skip
    if task == "embed":
        write(folder, "modules.json", [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ])  # fmt: skip
        write(folder, "1_Pooling/config.json", {
            "word_embedding_dimension": hidden, "pooling_mode_cls_token": pooling == "cls",
            "pooling_mode_mean_tokens": pooling == "mean",
        })  # fmt: skip
    torch.manual_seed(0)
    sizes = {} if is_bert else {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    config = config(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=inner, num_labels=1, pad_token_id=specials.index(pad), bos_token_id=specials.index(start),
        eos_token_id=specials.index(end), **sizes,
    )  # fmt: skip
    (embedder if task == "embed" else reranker)(config).save_pretrained(part(folder))
    os.rename(part(folder), folder)


def tokenizer(specials, start, end, unknown, vocabulary, is_bert):
    words = specials + [f"w{index}" for index in range(vocabulary - len(specials))]
    made = Tokenizer(models.WordLevel({word: id for id, word in enumerate(words)}, unk_token=unknown))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(specials)
    pair = f"{start} $A {end} $B:1 {end}:1" if is_bert else f"{start} $A {end} {end} $B {end}"
    ids = [(token, words.index(token)) for token in (start, end)]
    made.post_processor = processors.TemplateProcessing(single=f"{start} $A {end}", pair=pair, special_tokens=ids)
    return made


def part(folder):
    """The folder while it isn't whole."""
    os.makedirs(folder + ".part", exist_ok=True)
    return folder + ".part"


def write(folder, name, value):
    path = os.path.join(part(folder), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf8") as file:
        json.dump(value, file)


main()
