"""Make tiny random BERT sentence-embedding models and what sentence-transformers answers with them.

Usage: python tests/golden/bert.py

Writes tests/golden/bert/texts.json and one complete model folder per case, saved by transformers and
sentence-transformers themselves. Beside each model lie `expected.npy` (float32 [texts, dim], one text at a
time, float32 arithmetic, eager attention) and `hidden.npy` (float32 [seq, hidden], the last hidden states of
the first text). The models are small and their weights large, so that a wrong operation shows.
"""

import json
import shutil
import string
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizerFast
from transformers.utils import logging

OUT = Path(__file__).parent / "bert"

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """
the of and to in is that for it as was with be by on not he his but at are this have from or had an they
which one you were all her she there would their we him been has when who will no more if out so up said
what its about than into them can only other time new some could these two may first then do any like my
now over such our man me even most made after also did many off before must well back through years much
where your way down should because long each just state those people too little world still good own see
men work life get here between both being under never day same another know year while last might us great
query document passage
""".split()
SUFFIXES = ["##s", "##ing", "##ed", "##er", "##ly", "##ment", "##tion", "##ness"]
CHARS = string.ascii_lowercase + string.digits
VOCAB = SPECIAL + list(string.punctuation) + list(CHARS) + [f"##{c}" for c in CHARS] + SUFFIXES
VOCAB += [word for word in WORDS if word not in VOCAB]

TEXTS = [
    "The first man said that life is good.",
    "",
    "a",
    "Working people never see the great documents they made!",
    "What is the way back? It may be long, but you would know it.",
    "\u65e5\u672c\u8a9e and \U0001f600 are not in the vocabulary",
    "CAF\u00c9 caf\u00e9 cafe\u0301",
    "[MASK] of the [SEP] world",
    "under_score, 3.14159 and (some) <tags> & more; x = y + 42",
    "he she he she he she he she he she",
    "two years after the state was new, there were no more men like him in it and none of us could say who",
    " ".join(WORDS),
]

SMALL = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 48}
MEDIUM = {"hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 96}


def random_model(seed, shape, model_class=BertModel, **config):
    """A model whose every parameter is random: large weights, and biases and LayerNorms that matter.

    Word embeddings are the largest, so that texts differ; all stay small enough for float32 to hold 1e-6.
    """
    defaults = {"vocab_size": len(VOCAB), "num_hidden_layers": 2, "max_position_embeddings": 64, "pad_token_id": 0}
    torch.manual_seed(seed)
    model = model_class(BertConfig(**{**defaults, **shape, **config}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "word_embeddings" in name:
                parameter.normal_(0.0, 1.0)
            elif name.endswith("LayerNorm.weight"):
                parameter.normal_(1.0, 0.3)
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.1)
            else:
                parameter.normal_(0.0, 0.3)
    return model


def save_plain(folder, model, max_length=None):
    """What transformers alone writes: the model and its tokenizer."""
    vocab = {token: index for index, token in enumerate(VOCAB)}
    limit = {} if max_length is None else {"model_max_length": max_length}
    model.save_pretrained(folder)
    BertTokenizerFast(vocab=vocab, do_lower_case=True, **limit).save_pretrained(folder)


def save(folder, model, modules, **options):
    """What sentence-transformers writes for a model followed by `modules`."""
    with tempfile.TemporaryDirectory() as plain:
        save_plain(plain, model, max_length=48)
        modules = [Transformer(plain), *modules]
    SentenceTransformer(modules=modules, device="cpu", **options).save_pretrained(str(folder), create_model_card=False)


def load(folder):
    """The saved model, to be computed in float32 whatever its weights are stored as."""
    kwargs = {"attn_implementation": "eager", "dtype": torch.float32}
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True, model_kwargs=kwargs)


def encode(folder, name="expected", **options):
    np.save(folder / f"{name}.npy", load(folder).encode(TEXTS, batch_size=1, **options))


def encode_hidden(folder):
    hidden = load(folder).encode(TEXTS[:1], output_value="token_embeddings")[0]
    np.save(folder / "hidden.npy", hidden.numpy())


def case_mean(folder):
    save(folder, random_model(1, MEDIUM), [Pooling(48, "mean"), Normalize()])
    encode(folder, "expected_16", truncate_dim=16, normalize_embeddings=True)


def case_cls_5_layers(folder):
    save(folder, random_model(2, MEDIUM, num_hidden_layers=5), [Pooling(48, "cls"), Normalize()])


def case_max_relu(folder):
    save(folder, random_model(3, SMALL, hidden_act="relu"), [Pooling(24, "max")])


def case_lasttoken_gelu_new(folder):
    save(folder, random_model(4, SMALL, hidden_act="gelu_new"), [Pooling(24, "lasttoken")])


def case_sqrt_len(folder):
    save(folder, random_model(5, SMALL), [Pooling(24, "mean_sqrt_len_tokens")])


def case_cls_mean(folder):
    save(folder, random_model(6, SMALL), [Pooling(24, ("cls", "mean"))])


def case_dense(folder):
    model = random_model(7, MEDIUM)
    save(folder, model, [Pooling(48, "mean"), Dense(48, 32), Normalize()])


def case_dense_identity(folder):
    model = random_model(8, SMALL)
    save(folder, model, [Pooling(24, "mean"), Dense(24, 16, bias=False, activation_function=None)])


def case_f16(folder):
    save(folder, random_model(9, SMALL).half(), [Pooling(24, "mean"), Normalize()])


def case_bf16(folder):
    save(folder, random_model(10, SMALL).bfloat16(), [Pooling(24, "mean"), Normalize()])


def case_sharded(folder):
    model = random_model(11, SMALL)
    save(folder, model, [Pooling(24, "mean"), Normalize()])
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="24KB")


def case_plain(folder):
    save_plain(folder, random_model(12, SMALL))


def case_for_masked_lm(folder):
    save_plain(folder, random_model(13, SMALL, BertForMaskedLM))


def case_prompts(folder, include_prompt=True):
    prompts = {"query": "the query: ", "document": ""}
    pooling = Pooling(24, "mean", include_prompt=include_prompt)
    save(folder, random_model(14, SMALL), [pooling, Normalize()], prompts=prompts)
    encode(folder, "expected_query", prompt_name="query")


def case_prompts_excluded(folder):
    case_prompts(folder, include_prompt=False)


def case_odd(folder):
    shape = {"hidden_size": 40, "num_attention_heads": 5, "intermediate_size": 56, "max_position_embeddings": 32}
    model = random_model(15, shape, type_vocab_size=1, layer_norm_eps=1e-3, hidden_act="gelu_pytorch_tanh")
    save(folder, model, [Pooling(40, "mean")])


def case_legacy_files(folder):
    """The weights of `mean` with CLS pooling, in the files that sentence-transformers 2 published."""
    folder.mkdir()
    (folder / "1_Pooling").mkdir()
    config = {
        "_name_or_path": "nreimers/MiniLM-L6-H384-uncased",
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 48,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 64,
        "model_type": "bert",
        "num_attention_heads": 3,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "transformers_version": "4.8.2",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": len(VOCAB),
    }
    special = {f"{name.strip('[]').lower()}_token": name for name in SPECIAL}
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    # The published tokenizer.json cuts and pads by itself; sentence-transformers overrides both.
    tokenizer = json.loads((OUT / "mean/tokenizer.json").read_text())
    tokenizer["truncation"] = {"max_length": 16, "strategy": "LongestFirst", "stride": 0}
    tokenizer["padding"] = {
        "strategy": {"Fixed": 16},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    files = {
        "config.json": config,
        "config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"}
        },
        "modules.json": [
            {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{module}"}
            for idx, (path, module) in enumerate(modules)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": 48,
            "pooling_mode_cls_token": True,
            "pooling_mode_mean_tokens": False,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        "sentence_bert_config.json": {"max_seq_length": 24, "do_lower_case": False},
        "special_tokens_map.json": special,
        "tokenizer_config.json": {
            "do_lower_case": True,
            **special,
            "tokenize_chinese_chars": True,
            "strip_accents": None,
            "name_or_path": "nreimers/MiniLM-L6-H384-uncased",
            "do_basic_tokenize": True,
            "never_split": None,
            "tokenizer_class": "BertTokenizer",
            "model_max_length": 64,
        },
        "tokenizer.json": tokenizer,
    }
    for path, content in files.items():
        (folder / path).write_text(json.dumps(content, indent=2))
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    weights = load_file(OUT / "mean/model.safetensors")
    weights["embeddings.position_ids"] = torch.arange(64).unsqueeze(0)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


CASES = [
    case_mean,
    case_cls_5_layers,
    case_max_relu,
    case_lasttoken_gelu_new,
    case_sqrt_len,
    case_cls_mean,
    case_dense,
    case_dense_identity,
    case_f16,
    case_bf16,
    case_sharded,
    case_plain,
    case_for_masked_lm,
    case_prompts,
    case_prompts_excluded,
    case_odd,
    case_legacy_files,
]


def main():
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    (OUT / "texts.json").write_text(json.dumps(TEXTS, indent=2) + "\n")
    for case in CASES:
        folder = OUT / case.__name__.removeprefix("case_").replace("_", "-")
        case(folder)
        encode(folder)
        encode_hidden(folder)


if __name__ == "__main__":
    main()
