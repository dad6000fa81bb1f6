"""Tokenizers of the families of decoders, as their published repositories have them, with a small vocabulary."""

import json

from tiny import CORPUS
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import GemmaTokenizer, LlamaTokenizer, Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def train(tokenizer, texts, **options):
    """The vocabulary and the merges of a BPE."""
    tokenizer.train_from_iterator(texts, BpeTrainer(show_progress=False, **options))
    vocab = tokenizer.get_vocab()
    merges = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    return dict(sorted(vocab.items(), key=lambda item: item[1])), merges


def template(single, pair, backend, *tokens):
    ids = [(token, backend.token_to_id(token)) for token in tokens]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)


def qwen(limit, texts=(), size=420):
    """Qwen3's: byte-level BPE after NFC, and special tokens behind it; texts are padded on the left."""
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab, merges = train(tokenizer, [*CORPUS, *texts], vocab_size=size, initial_alphabet=alphabet)
    whole = Qwen2Tokenizer(vocab=vocab, merges=merges, model_max_length=limit, padding_side="left")
    whole.add_tokens([AddedToken(token, special=True) for token in ("<|im_start|>", "<|im_end|>")])
    whole.add_tokens([AddedToken(token, special=False, normalized=False) for token in ("<think>", "</think>")])
    return whole


def qwen_with_end(limit):
    """As Qwen3-Embedding has it: a text ends with the token that also pads."""
    whole = qwen(limit)
    end = "<|endoftext|>"
    end = template(f"$A:0 {end}:0", f"$A:0 {end}:0 $B:1 {end}:1", whole.backend_tokenizer, end)
    byte_level = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    whole.backend_tokenizer.post_processor = processors.Sequence([byte_level, end])
    return whole


def llama(limit):
    """Mistral's: BPE over words with their space, bytes for what is unknown, and a token that begins a text."""
    tokenizer = Tokenizer(BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    vocab, merges = train(tokenizer, CORPUS, vocab_size=520, special_tokens=["<unk>", "<s>", "</s>", *BYTES])
    whole = LlamaTokenizer(vocab=vocab, merges=merges, model_max_length=limit, pad_token="</s>", padding_side="left")
    backend = whole.backend_tokenizer
    backend.post_processor = template("<s>:0 $A:0", "<s>:0 $A:0 <s>:1 $B:1", backend, "<s>")
    return whole


def gemma(limit):
    """Gemma's: BPE without a space before a text, bytes for what is unknown, and a token that begins a text."""
    tokenizer = Tokenizer(BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    vocab, merges = train(tokenizer, CORPUS, vocab_size=520, special_tokens=[*special, *BYTES])
    whole = GemmaTokenizer(vocab=vocab, merges=merges, model_max_length=limit)
    backend = whole.backend_tokenizer
    backend.post_processor = template("<bos>:0 $A:0", "<bos>:0 $A:0 <bos>:1 $B:1", backend, "<bos>")
    return whole
