"""Write vocabularies as GGUF files have them, and what the tokenizers they are of make of many kinds of text.

Usage: python tests/golden/gguf_tokenizers/make.py

Writes beside this file, for each tokenizer, `<name>.gguf` with the metadata that llama.cpp's converter writes for it
(no tensors), by the `gguf` package, and `<name>.json` with the ids of every text of `../tokenizers/texts.json`, by the
`tokenizers` package, whole and with special tokens. The normalisers and pre-tokenizers are those of the published
`tokenizer.json` of each family.
"""

import io
import json
import os
import sys
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
OUT = Path(__file__).parent
sys.path[:0] = [str(OUT.parent), str(OUT.parent / "tokenizers")]

import gguf
import sentencepiece
from make import CORPUS, TEXTS
from sentencepiece import sentencepiece_model_pb2
from tiny import RULES
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram, WordPiece
from tokenizers.trainers import BpeTrainer, WordPieceTrainer
from transformers.convert_slow_tokenizer import generate_merges

Type = gguf.TokenType
VOCAB_SIZE = 700


def write(name, tokenizer, model, pre, tokens, types, special=None, added=None, scores=None, merges=None, extra=None):
    """The two files of a tokenizer; `special` are ids by role, `added` which roles are put around a text."""
    writer = gguf.GGUFWriter(OUT / f"{name}.gguf", arch="none")
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([int(kind) for kind in types])
    if scores is not None:
        writer.add_token_scores(scores)
    if merges is not None:
        writer.add_token_merges(merges)
    for role, token in (special or {}).items():
        getattr(writer, f"add_{role}_token_id")(tokenizer.token_to_id(token))
    for role, is_added in (added or {}).items():
        getattr(writer, f"add_add_{role}_token")(is_added)
    for key, value in (extra or {}).items():
        add = writer.add_bool if isinstance(value, bool) else writer.add_array
        add(f"tokenizer.ggml.{key}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    rows = [json.dumps(tokenizer.encode(text).ids) for text in TEXTS]
    (OUT / f"{name}.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


def template(first, last, tokenizer, pair):
    special = [(token, tokenizer.token_to_id(token)) for token in {first, last}]
    return processors.TemplateProcessing(single=f"{first} $A {last}", pair=pair, special_tokens=special)


def word_piece(name, corpus, lowercase, recorded):
    """BERT's; `recorded` says whether the file says how texts are normalised, as it does of late."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = (tokenizer.normalizer.normalize_str(text) for text in corpus)
    words = [word for text in texts for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    first = [*special, *sorted(set("".join(words))), *sorted({f"##{char}" for word in words for char in word[1:]})]
    size = len(first) + VOCAB_SIZE
    tokenizer.train_from_iterator(words, WordPieceTrainer(vocab_size=size, special_tokens=first, show_progress=False))
    vocab = tokenizer.get_vocab()
    tokenizer.model = WordPiece(vocab, unk_token="[UNK]")
    vocab = sorted(vocab, key=vocab.get)
    # Those that the trainer counts as special.
    whole = Tokenizer(tokenizer.model)
    whole.normalizer, whole.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    whole.add_special_tokens(special)
    whole.add_tokens([AddedToken("[NEW]", normalized=True)])
    whole.post_processor = template("[CLS]", "[SEP]", whole, "[CLS] $A [SEP] $B:1 [SEP]:1")
    control = set(special)
    types = [Type.CONTROL if token in control else Type.NORMAL for token in vocab] + [Type.USER_DEFINED, Type.UNUSED]

    def phantom(token, kind):
        return token if kind == Type.CONTROL else token[2:] if token.startswith("##") else f"\u2581{token}"

    tokens = [phantom(token, kind) for token, kind in zip([*vocab, "[NEW]", "[PAD9999]"], types, strict=True)]
    roles = {"bos": "[CLS]", "eos": "[SEP]", "sep": "[SEP]", "unk": "[UNK]", "pad": "[PAD]", "mask": "[MASK]"}
    extra = {"normalizer.lowercase": lowercase} if recorded else {}
    write(name, whole, "bert", "bert-bge", tokens, types, roles, extra=extra)


GPT_2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN_2 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{SPACES}"
LLAMA_3 = QWEN_2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
DEEPSEEK_3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{SPACES}"
)
# By the name in `tokenizer.ggml.pre`: normaliser and pre-tokenizer.
BYTE_LEVEL = {
    "gpt-2": (None, GPT_2),
    "roberta-bpe": (None, GPT_2),
    "smollm": (None, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT_2])),
    "qwen2": (normalizers.NFC(), pre_tokenizers.Sequence([split(QWEN_2), BYTES])),
    "llama-bpe": (None, pre_tokenizers.Sequence([split(LLAMA_3), BYTES])),
    "deepseek-coder": (
        None,
        pre_tokenizers.Sequence(
            [
                split(r"[\r\n]"),
                split(r"\s?\p{L}+"),
                split(r"\s?\p{P}+"),
                split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"),
                pre_tokenizers.Digits(individual_digits=True),
                BYTES,
            ]
        ),
    ),
    "deepseek-v3": (
        None,
        pre_tokenizers.Sequence(
            [split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DEEPSEEK_3), BYTES]
        ),
    ),
}


def train_byte_level():
    """The tokens, by id, and the merges; merges cross the borders that pre-tokenizers make, so that those show."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split(r".{1,12}"), BYTES])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=256 + VOCAB_SIZE, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    vocab = tokenizer.get_vocab()
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return sorted(vocab, key=vocab.get), [tuple(merge) for merge in merges]


def byte_level(pre, tokens, merges):
    ignore_merges = pre == "llama-bpe"
    if pre == "roberta-bpe":
        tokens = ["<s>", "<pad>", "</s>", "<unk>", *tokens, "<mask>"]
        control, user = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], ["[NEW]"]
        special = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "sep": "</s>", "pad": "<pad>", "mask": "<mask>"}
        added = {"bos": True, "eos": True, "sep": True}
    else:
        tokens = [*tokens, "<|start|>", "<|end|>"]
        control, user = ["<|start|>", "<|end|>"], ["[NEW]"]
        special = {"bos": "<|start|>", "eos": "<|end|>"}
        # What `llama-bpe` adds where a file doesn't say.
        added = {} if pre == "llama-bpe" else {"bos": False, "eos": False}
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges, ignore_merges=ignore_merges))
    normalizer, tokenizer.pre_tokenizer = BYTE_LEVEL[pre]
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.add_special_tokens([AddedToken(token, lstrip=token == "<mask>", special=True) for token in control])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in user])
    if pre == "roberta-bpe":
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    elif pre == "llama-bpe":
        start = ("<|start|>", tokenizer.token_to_id("<|start|>"))
        tokenizer.post_processor = processors.TemplateProcessing("<|start|> $A", "<|start|> $A $B", [start])
    types = [Type.CONTROL if token in control else Type.NORMAL for token in tokens]
    types += [Type.USER_DEFINED] * len(user) + [Type.UNUSED] * 2
    tokens = [*tokens, *user, "[PAD1]", "[PAD2]"]
    merges = [" ".join(merge) for merge in merges]
    write(pre, tokenizer, "gpt2", pre, tokens, types, special, added, merges=merges)


def train_sentence_piece(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        byte_fallback=True,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())


KINDS = {1: Type.NORMAL, 2: Type.UNKNOWN, 3: Type.CONTROL, 4: Type.USER_DEFINED, 5: Type.UNUSED, 6: Type.BYTE}


def sentence_piece():
    """LLaMA's: BPE by scores."""
    proto = train_sentence_piece(
        model_type="bpe",
        vocab_size=256 + VOCAB_SIZE,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        character_coverage=0.99,
    )
    tokens = [piece.piece for piece in proto.pieces]
    scores = [piece.score for piece in proto.pieces]
    types = [KINDS[piece.type] for piece in proto.pieces]
    vocab = {token: index for index, token in enumerate(tokens)}
    merges = generate_merges(vocab, dict(zip(tokens, scores, strict=True)))
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken("[NEW]", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s>:1 $B:1", [("<s>", 1)])
    special = {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}
    added = {"bos": True, "eos": False}
    types, scores = [*types, Type.USER_DEFINED], [*scores, -1000.0]
    write("sentence_piece", tokenizer, "llama", "default", [*tokens, "[NEW]"], types, special, added, scores)


def unigram():
    """XLM-RoBERTa's, as the converter writes it from SentencePiece's file: its mask token is lost but for its id."""
    rules = OUT / "rules.tsv"
    rules.write_text("\n".join(RULES) + "\n")
    proto = train_sentence_piece(
        model_type="unigram",
        vocab_size=256 + VOCAB_SIZE,
        character_coverage=0.999,
        normalization_rule_tsv=str(rules),
    )
    rules.unlink()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [(piece.piece, piece.score) for piece in proto.pieces[3:]]
    pieces = [*((token, 0.0) for token in special), *pieces, ("<mask>", 0.0)]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=3, byte_fallback=True))
    table = proto.normalizer_spec.precompiled_charsmap
    strip, spaces = normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "\u2581")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(table), strip, spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.add_special_tokens([AddedToken(token) for token in special])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = template("<s>", "</s>", tokenizer, "<s> $A </s> </s> $B </s>")
    n_pieces = len(pieces)
    tokens = [token for token, _ in pieces[:-1]] + [f"[PAD{n_pieces}]", f"[PAD{n_pieces + 1}]"]
    scores = [score for _, score in pieces[:-1]] + [-10000.0] * 2
    types = [Type.CONTROL] * 3 + [Type.UNKNOWN] + [KINDS[piece.type] for piece in proto.pieces[3:]] + [Type.UNUSED] * 2
    roles = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "sep": "</s>", "pad": "<pad>", "mask": "<mask>"}
    added = {"bos": True, "eos": True, "sep": True}
    extra = {"add_space_prefix": True, "remove_extra_whitespaces": True, "precompiled_charsmap": table}
    write("unigram", tokenizer, "t5", "default", tokens, types, roles, added, scores, extra=extra)


def main():
    word_piece("word_piece", CORPUS, True, False)
    word_piece("word_piece_cased", CORPUS, False, False)
    # Its tokens alone would say that texts are lower-cased.
    word_piece("word_piece_recorded", [text.lower() for text in CORPUS], False, True)
    tokens, merges = train_byte_level()
    for pre in BYTE_LEVEL:
        byte_level(pre, tokens, merges)
    sentence_piece()
    unigram()


if __name__ == "__main__":
    main()
