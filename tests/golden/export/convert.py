"""Writes what llama.cpp makes of the tiny models: `<case>.json` by its converter, `mixtures.json` by its quantiser.

usage: convert.py LLAMA_CPP

LLAMA_CPP is a checkout of llama.cpp, such as `vendor/llama.cpp` in the source distribution of llama-cpp-python 0.3.36,
whose wheel does the quantising. A case has the metadata of the file and, for each type of file, each tensor's type,
shape and the sha256 of its bytes. Decoders are made here, beside this file: no other test has them.
"""

import ctypes
import hashlib
import json
import sys
import tempfile
from pathlib import Path

LLAMA_CPP = Path(sys.argv[1])
sys.path[:0] = [str(LLAMA_CPP), str(LLAMA_CPP / "gguf-py"), str(Path(__file__).parents[1])]

import gguf
import llama_cpp
import numpy as np
import torch
from conversion.base import ModelBase, TextModel
from conversion import get_model_class
from tiny import CORPUS, edit_json, randomize
from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

HERE = Path(__file__).parent
GOLDEN = HERE.parent

# A tokenizer of one of these is unknown to the converter, which goes by a hash of what a tokenizer gives.
CASES = {
    "bert-mean": ("bert/mean", "default"),
    "bert-legacy-files": ("bert/legacy-files", "default"),
    "bert-reranker": ("families/bert/reranker", "default"),
    "xlm-roberta-cls": ("families/xlm_roberta/cls-published-tokenizer", None),
    "xlm-roberta-reranker": ("families/xlm_roberta/reranker", None),
    "roberta-mean": ("families/roberta/mean", "roberta-bpe"),
    "distilbert-mean": ("families/distilbert/mean", "default"),
    "nomic-bert": ("families/nomic_bert/embedding", "default"),
    "qwen2": ("export/qwen2", "qwen2"),
    "qwen3": ("export/qwen3", "qwen2"),
    "llama": ("export/llama", "llama-bpe"),
}
TYPES = {"F32": gguf.LlamaFileType.ALL_F32, "F16": gguf.LlamaFileType.MOSTLY_F16, "BF16": gguf.LlamaFileType.MOSTLY_BF16,
         "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def byte_level(numbers, special, bos=None):
    """Byte-level BPE that splits texts as Qwen2 or LLaMA 3 does, but for how many digits go together."""
    tokenizer = Tokenizer(BPE())
    split = pre_tokenizers.Split(Regex(WORDS % numbers), behavior="isolated")
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, plain])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False, special=False)])
    after = processors.ByteLevel(trim_offsets=False)
    if bos:
        ids = [(bos, tokenizer.token_to_id(bos))]
        template = processors.TemplateProcessing(f"{bos} $A", f"{bos} $A {bos} $B", ids)
        after = processors.Sequence([after, template])
    tokenizer.post_processor = after
    return tokenizer


def save(name, kind, config, tokenizer, seed, **tokens):
    folder = HERE / name
    model = randomize(kind(config), seed).to(torch.bfloat16)
    model.save_pretrained(folder)
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **tokens)
    whole.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    whole.save_pretrained(folder)
    (folder / "generation_config.json").write_text('{"temperature": 0.5, "top_k": 20, "top_p": 0.75}\n')


def make_decoders():
    sizes = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
             "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    qwen = byte_level(r"\p{N}", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokens = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "add_bos_token": False}
    save("qwen2", Qwen2ForCausalLM, Qwen2Config(**sizes, rope_theta=1e6, tie_word_embeddings=True), qwen, 1, **tokens)
    save("qwen3", Qwen3ForCausalLM, Qwen3Config(**sizes, head_dim=16, rope_theta=1e6), qwen, 2, **tokens)
    llama = byte_level(r"\p{N}{1,3}", ["<|begin_of_text|>", "<|end_of_text|>"], "<|begin_of_text|>")
    rope = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32, "rope_theta": 500.0}
    config = LlamaConfig(**{**sizes, "hidden_size": 64}, rope_parameters=rope)
    tokens = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}
    save("llama", LlamaForCausalLM, config, llama, 3, **tokens)


def as_published(folder, is_mistral_format):
    """`config.json` as it is: transformers 5 reads other fields of NomicBERT's than were published."""
    return json.loads((folder / "config.json").read_text())


def convert(folder, of, out):
    hparams = ModelBase.load_hparams(folder, False)
    with torch.inference_mode():
        get_model_class(hparams["architectures"][0])(folder, of, out).write()


def read(path):
    file = gguf.GGUFReader(path)
    keys = {name: field for name, field in file.fields.items() if not name.startswith("GGUF.")}
    metadata = {name: [field.types[-1].name, field.contents()] for name, field in keys.items()}
    for tensor in file.tensors:
        yield tensor.name, [
            tensor.tensor_type.name,
            [int(size) for size in reversed(tensor.shape)],
            hashlib.sha256(tensor.data.tobytes()).hexdigest(),
        ]
    yield None, metadata


def write_cases():
    whole_hparams = ModelBase.load_hparams
    for case, (folder, pre) in CASES.items():
        ModelBase.load_hparams = staticmethod(as_published if case == "nomic-bert" else whole_hparams)
        TextModel.get_vocab_base_pre = lambda self, tokenizer, pre=pre: pre
        files = {}
        with tempfile.TemporaryDirectory() as temporary:
            for name, of in TYPES.items():
                out = Path(temporary) / f"{name}.gguf"
                convert(GOLDEN / folder, of, out)
                files[name] = dict(read(out))
        metadata = [files[name].pop(None) for name in TYPES]
        file_types = {name: keys.pop("general.file_type")[1] for name, keys in zip(TYPES, metadata)}
        assert all(keys == metadata[0] for keys in metadata)
        lines = [f'"folder": {json.dumps(folder)}', f'"file_types": {json.dumps(file_types)}']
        keys = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(metadata[0].items())]
        lines.append('"metadata": {\n' + ",\n".join(keys) + "\n}")
        tensors = [f"{json.dumps(name)}: {json.dumps({of: files[of][name] for of in TYPES})}" for name in sorted(files["F32"])]
        lines.append('"tensors": {\n' + ",\n".join(tensors) + "\n}")
        (HERE / f"{case}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


LAYERS = 16
PARTS = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_gate", "ffn_down"]
MIXTURES = {"Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12,
            "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30}


def quantize(source, target, number):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = number, 1
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) == 0


def write_mixtures():
    """The types alone: of a LLaMA with an output layer and shared heads, and without either, in rows of three lengths."""
    rows = []
    for columns in (256, 96, 40):
        for kv_heads, is_tied in ((8, True), (2, False)):
            with tempfile.TemporaryDirectory() as temporary:
                source, target = Path(temporary) / "f32.gguf", Path(temporary) / "out.gguf"
                writer = gguf.GGUFWriter(source, "llama")
                writer.add_block_count(LAYERS)
                writer.add_context_length(64)
                writer.add_embedding_length(columns)
                writer.add_feed_forward_length(columns)
                writer.add_head_count(8)
                writer.add_head_count_kv(kv_heads)
                writer.add_layer_norm_rms_eps(1e-5)
                writer.add_vocab_size(4)
                names = ["token_embd", *([] if is_tied else ["output"]), "output_norm"]
                names += [f"blk.{layer}.{part}" for layer in range(LAYERS) for part in PARTS]
                for name in names:
                    shape = (columns,) if name.endswith("norm") else (4, columns)
                    values = np.random.default_rng(len(name)).standard_normal(shape, dtype=np.float32)
                    writer.add_tensor(f"{name}.weight", values)
                writer.write_header_to_file()
                writer.write_kv_data_to_file()
                writer.write_tensors_to_file()
                writer.close()
                for mixture, number in MIXTURES.items():
                    quantize(source, target, number)
                    found = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(target).tensors}
                    types = {name: found[f"{name}.weight"] for name in names[: -LAYERS * len(PARTS)]}
                    for part in PARTS:
                        types[part] = [found[f"blk.{layer}.{part}.weight"] for layer in range(LAYERS)]
                    head = {"columns": columns, "heads": 8, "kv_heads": kv_heads, "is_tied": is_tied, "mixture": mixture}
                    rows.append(json.dumps({**head, "types": types}))
    (HERE / "mixtures.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_decoders()
    write_cases()
    write_mixtures()
