"""What the golden-data generators of the encoder families share: texts, pairs, tokenizers and random weights.

A family's `make.py` gives its cases to `run`, which writes one complete tiny model folder per case, saved by
transformers and sentence-transformers themselves, and beside the model what those answer with it: one text or pair
at a time, float32 arithmetic, eager attention.
"""

import io
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from bert import TEXTS as BERT_TEXTS
from bert import VOCAB, WORDS
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.sentence_transformer.modules import Transformer
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizerFast,
    MPNetTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)
from transformers.utils import logging

FAMILIES = Path(__file__).parent / "families"
LIMIT = 48

TEXTS = [
    *BERT_TEXTS,
    "the <pad> of the </s> world is <mask> and <s> <unk>",
    "the [PAD] of the [CLS] world is [MASK] and [UNK]",
    "  two   spaces\tand\nlines \u00a0 ",
    "\uff26\uff55\uff4c\uff4c width, \ufb01ne, na\u00efve, e\u0301t\u00e9, \u2460 and\u200b none",
]

LONG = " ".join(WORDS)
PAIRS = [
    ("What is the way back?", "It may be long, but you would know it."),
    ("people", "Working people never see the great documents they made!"),
    ("who made the first state", ""),
    ("", "The first man said that life is good."),
    ("a", "b"),
    ("how long is the passage", LONG),
    ("life of the [SEP] world", "[CLS] is good [PAD] and [MASK] is not [SEP]"),
    ("life of the </s> world", "<s> is good <pad> and <mask> is not </s>"),
    ("caf\u00e9 \u65e5\u672c\u8a9e", "CAF\u00c9 cafe\u0301 \U0001f600 \u65e5\u672c\u8a9e is \uff26\uff55\uff4c\uff4c"),
    ("two years", "after the state was new, there were no more men like him in it"),
    ("two years", "after the state was new, there were no more men like him in it"),
    ("no more men like him, 3.14159", "x = y + 42; under_score & (some) more"),
]
WORDPIECES = list(dict.fromkeys(VOCAB))
BERT_ONLY = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
CORPUS = [*TEXTS, *(text for pair in PAIRS for text in pair), LONG.title(), LONG]


def wordpiece(limit=LIMIT):
    """BERT's tokenizer over the vocabulary of `bert.py`."""
    vocab = {token: index for index, token in enumerate(WORDPIECES)}
    return BertTokenizerFast(vocab=vocab, do_lower_case=True, model_max_length=limit)


def mpnet(limit=LIMIT):
    """MPNet's WordPiece: RoBERTa's special tokens around BERT's vocabulary, with its unknown token in the middle."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *(token for token in WORDPIECES if token not in BERT_ONLY), "<mask>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    return MPNetTokenizer(vocab=vocab, do_lower_case=True, model_max_length=limit)


def train_byte_level(size):
    """The tokens, by id, and the merges of a byte-level BPE without special tokens."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    vocab = tokenizer.get_vocab()
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return sorted(vocab, key=vocab.get), [tuple(merge) for merge in merges]


def byte_level_bpe(limit=LIMIT):
    """RoBERTa's tokenizer: <s>, <pad>, </s> and <unk> come first, <mask> last."""
    tokens, merges = train_byte_level(400)
    vocab = {token: index for index, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *tokens, "<mask>"])}
    return RobertaTokenizer(vocab=vocab, merges=merges, model_max_length=limit)


def modernbert(limit=LIMIT):
    """ModernBERT's tokenizer: byte-level BPE after NFC, runs of spaces as added tokens, BERT's special tokens last."""
    tokens, merges = train_byte_level(400)
    tokenizer = Tokenizer(BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(" " * count, normalized=True) for count in (4, 3, 2)])
    special = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}
    tokenizer.add_special_tokens([AddedToken(token, lstrip=token == "[MASK]") for token in special.values()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=limit,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=True,
        **{f"{name}_token": token for name, token in special.items()},
    )


# A few rules of SentencePiece's nmt_nfkc, whose whole table is larger than all models here: code points before and
# after, in hexadecimal.
RULES = ["9\t20", "A\t20", "D\t20", "A0\t20", "200B\t20", "FB01\t66 69", "2460\t31", "65 301\tE9", "1\t", "7F\t"]
RULES += [f"{code:X}\t{code - 0xFEE0:X}" for code in range(0xFF01, 0xFF5F)]


def train_unigram():
    """Pieces with their scores, as XLM-RoBERTa numbers them, and the normaliser's table."""
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.tsv"
        rules.write_text("\n".join(RULES) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS),
            model_writer=model,
            model_type="unigram",
            vocab_size=320,
            hard_vocab_limit=False,
            normalization_rule_tsv=str(rules),
            num_threads=1,
            minloglevel=2,
        )
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces = [(piece.piece, piece.score) for piece in proto.pieces[3:]]
    return [*special, *pieces, ("<mask>", 0.0)], proto.normalizer_spec.precompiled_charsmap


def unigram(limit=LIMIT):
    """XLM-RoBERTa's tokenizer with the normaliser that transformers' converter writes."""
    vocab, table = train_unigram()
    tokenizer = Tokenizer(Unigram(vocab, unk_id=3, byte_fallback=False))
    strip, spaces = normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "\u2581")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(table), strip, spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=limit,
        model_input_names=["input_ids", "attention_mask"],
        bos_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        cls_token="<s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
    )


def unigram_split(limit=LIMIT):
    """XLM-RoBERTa's tokenizer as it was published: the table alone, and words split at white space."""
    vocab, table = train_unigram()
    return XLMRobertaTokenizer(vocab=vocab, _spm_precompiled_charsmap=table, model_max_length=limit)


def randomize(model, seed):
    """Makes every parameter random: large weights, and biases and norms that matter.

    Word embeddings are the largest, so that texts differ; all stay small enough for float32 to hold 1e-6.
    """
    torch.manual_seed(seed)
    words = model.get_input_embeddings().weight
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter is words:
                parameter.normal_(0.0, 1.0)
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.1)
            elif parameter.dim() == 1:
                parameter.normal_(1.0, 0.3)
            else:
                parameter.normal_(0.0, 0.3)
    return model.eval()


def save_plain(folder, model, tokenizer):
    """What transformers alone writes."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_embedding(folder, model, tokenizer, modules):
    """What sentence-transformers writes for a model followed by `modules`."""
    with tempfile.TemporaryDirectory() as plain:
        save_plain(plain, model, tokenizer)
        whole = SentenceTransformer(modules=[Transformer(plain), *modules], device="cpu")
        whole.save_pretrained(str(folder), create_model_card=False)


def save_reranker(folder, model, tokenizer, **options):
    """What sentence-transformers writes for a cross-encoder."""
    with tempfile.TemporaryDirectory() as plain:
        save_plain(plain, model, tokenizer)
        CrossEncoder(plain, device="cpu", **options).save_pretrained(str(folder), create_model_card=False)


def save_splade(folder, model, tokenizer, **options):
    """What sentence-transformers writes for a sparse encoder; `options` go into its pooling."""
    with tempfile.TemporaryDirectory() as plain:
        save_plain(plain, model, tokenizer)
        whole = SparseEncoder(plain, device="cpu")
        for name, value in options.items():
            setattr(whole[1], name, value)
        whole.save_pretrained(str(folder), create_model_card=False)


def thin(model, by=1.0):
    """Lowers the bias of a masked-LM head, so that only few tokens get a weight.

    The logits are made smaller first: a large one less a large bias would lose the digits that float32 holds.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "transform.LayerNorm" in name or "vocab_layer_norm" in name:
                parameter.mul_(0.1)
        model.get_output_embeddings().bias.sub_(by)
    return model


def edit_json(path, remove=(), **fields):
    """Takes fields out of a saved JSON file and puts others in."""
    content = json.loads(path.read_text())
    for name in remove:
        del content[name]
    path.write_text(json.dumps({**content, **fields}, indent=2) + "\n")


def load(folder, kind):
    """A saved model, computed in float32 with plain attention."""
    kwargs = {"attn_implementation": "eager", "dtype": torch.float32}
    return kind(str(folder), device="cpu", local_files_only=True, model_kwargs=kwargs)


def check_tokenizer(folder, inputs):
    """tokenizer.json alone must give what transformers gives with all files of the model."""
    whole, alone = AutoTokenizer.from_pretrained(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    alone.no_truncation()
    alone.no_padding()
    for one, found in zip(inputs, whole(inputs)["input_ids"], strict=True):
        assert alone.encode(*([one] if isinstance(one, str) else one)).ids == found, one


def write_embeddings(folder):
    check_tokenizer(folder, TEXTS)
    model = load(folder, SentenceTransformer)
    np.save(folder / "expected.npy", model.encode(TEXTS, batch_size=1))
    np.save(folder / "hidden.npy", model.encode(TEXTS[:1], output_value="token_embeddings")[0].numpy())


def write_scores(folder):
    """Raw logits by transformers alone, scores by sentence-transformers; nothing where there are several labels."""
    kwargs = {"attn_implementation": "eager", "dtype": torch.float32}
    model = AutoModelForSequenceClassification.from_pretrained(folder, **kwargs).eval()
    if model.config.num_labels != 1:
        return
    pairs = [list(pair) for pair in PAIRS]
    check_tokenizer(folder, pairs)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    limit = {"truncation": "longest_first", "max_length": LIMIT}
    with torch.no_grad():
        # A list of one pair: of a pair given as two texts, transformers drops an empty second one.
        logits = [model(**tokenizer([pair], return_tensors="pt", **limit)).logits[0] for pair in pairs]
    logits = torch.stack(logits)
    whole = load(folder, CrossEncoder)
    scores = whole.predict(PAIRS, batch_size=1).reshape(-1, 1)
    np.testing.assert_allclose(scores, whole.activation_fn(logits).numpy(), rtol=1e-5, atol=1e-6)
    np.save(folder / "logits.npy", logits.numpy())
    np.save(folder / "scores.npy", scores)


def write_sparse(folder):
    check_tokenizer(folder, TEXTS)
    rows = load(folder, SparseEncoder).encode(TEXTS, batch_size=1, convert_to_sparse_tensor=False).numpy()
    lines = [json.dumps({str(i): float(str(row[i])) for i in np.flatnonzero(row)}) for row in rows]
    (folder / "sparse.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def run(make_file, cases, **others):
    """Writes each case's folder beside `make_file`; the start of its name says what kind of model it is.

    `others` write what models of a kind answer in another way than here.
    """
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    FAMILIES.mkdir(exist_ok=True)
    (FAMILIES / "texts.json").write_text(json.dumps(TEXTS, indent=2) + "\n")
    (FAMILIES / "pairs.json").write_text(json.dumps({"pairs": PAIRS}, indent=2) + "\n")
    writers = {"reranker": write_scores, "splade": write_sparse, **others}
    for case in cases:
        folder = Path(make_file).parent / case.__name__.removeprefix("case_").replace("_", "-")
        shutil.rmtree(folder, ignore_errors=True)
        case(folder)
        writers.get(folder.name.split("-")[0], write_embeddings)(folder)
