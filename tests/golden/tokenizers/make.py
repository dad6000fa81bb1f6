"""Train tokenizers with a few thousand tokens, and write what they make of many kinds of text.

Usage: python tests/golden/tokenizers/make.py

Writes beside this file texts.json and pairs.json, and one folder per tokenizer: `tokenizer.json` and
`tokenizer_config.json` as transformers saves them, and `expected.json` with the ids and type ids of every text and
pair, cut at 128 tokens (of a pair the second text, where the first leaves room).
"""

import bisect
import heapq
import inspect
import io
import json
import os
import shutil
import statistics
import sys
import tempfile
import textwrap
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
OUT = Path(__file__).parent
sys.path.insert(0, str(OUT.parent))

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tiny import RULES, WORDS
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram, WordPiece
from tokenizers.trainers import BpeTrainer, WordPieceTrainer
from transformers import BertTokenizerFast, PreTrainedTokenizerFast, RobertaTokenizer

LIMIT = 128
LIMITS = {"model_max_length": LIMIT, "truncation_side": "right"}
SENTENCES = """
The quick brown fox jumps over the lazy dog, and nobody asks the dog what it thinks of that.
Search engines compare the words of a question with the words of millions of documents.
An embedding is a vector of numbers that stands for the meaning of a sentence.
El rápido zorro marrón salta sobre el perro perezoso; ¿quién lo habría dicho?
Los documentos más largos se cortan en pedazos antes de calcular sus vectores.
Le cœur a ses raisons que la raison ne connaît point, à ce qu'on dit depuis longtemps.
L'élève naïf reçoit un garçon à Noël où il préfère la crème brûlée.
Der Übermütige fährt über die Brücke, während große Straßen gesperrt bleiben.
Die Bedeutung eines Satzes wird als Vektor mit vielen Zahlen gespeichert.
O coração não sente o que os olhos não vêem, mas a informação permanece.
Il gatto dorme sulla sedia perché la città è già piena di rumori.
Zażółć gęślą jaźń, powiedział nauczyciel i zamknął książkę.
Příliš žluťoučký kůň úpěl ďábelské ódy.
Съешь ещё этих мягких французских булок да выпей чаю.
Поиск документов начинается с вопроса.
Το γρήγορο καφέ αλεπού πηδά πάνω από το σκυλί.
日本語の文章を検索する時は、単語の境界が見えません。東京は日本の首都です。
今天天气很好，我们去公园看花。语言模型把文字变成数字。
한국어 문장을 벡터로 바꾸면 비교할 수 있습니다.
اللغة العربية تكتب من اليمين إلى اليسار، والبحث عن الوثائق سريع.
השפה העברית נכתבת מימין לשמאל.
हिन्दी में लिखे हुए दस्तावेज़ खोजना आसान है।
ภาษาไทยไม่มีช่องว่างระหว่างคำ
Tiếng Việt có nhiều dấu thanh, nên chuẩn hoá Unicode rất quan trọng.
İstanbul'da ılık bir gün, çocuklar şarkı söylüyor.
In 2023 there were 1,234,567 results; in 2024 there were 2,345,678.90, or 89.5 % more than in 1999.
fn main() { let values: Vec<u32> = (0..10).map(|x| x * x).collect(); println!("{values:?}"); }
for (int i = 0; i < n; ++i) { total += values[i]; } // sum of all values
SELECT name, COUNT(*) AS total FROM documents WHERE year >= 2020 GROUP BY name ORDER BY total DESC;
https://www.example.com/search?q=vector+database&page=2#results and mail@example.org
""".strip().splitlines()
# Source text of the standard library, English and code, that has not changed for years.
CORPUS = [*SENTENCES * 4, " ".join(WORDS)]
CORPUS += [line for module in (bisect, heapq, statistics, textwrap) for line in inspect.getsource(module).splitlines()]

LONG = " ".join(SENTENCES[:8])
TEXTS = [
    "",
    " ",
    "a",
    "Hello world",
    "hello world",
    "HELLO WORLD",
    "Hello, world! How are you?",
    " leading space",
    "trailing space ",
    "  two  spaces   three    four     five  ",
    "\ttabs\tand\nnew\r\nlines\rand\x0bvertical\x0cfeeds",
    "\n\n\n",
    "no\u00a0break\u202fspaces\u2003em\u3000ideographic",
    "zero\u200bwidth\u200cnon\u200djoiner\ufeffmark\u2060word",
    "soft\u00adhyphen and \u2011 and \u2013 and \u2014",
    "control\x00null\x01one\x07bell\x1bescape\x7fdelete\x85next",
    "caf\u00e9 composed",
    "cafe\u0301 decomposed",
    "\u00c5ngstr\u00f6m \u212bngstr\u00f6m A\u030angstro\u0308m",
    "\ufb01ne \ufb02ow \u00bd \u2460 \u2122 \u33a1 \u2163",
    "\uff26\uff55\uff4c\uff4c\u3000\uff57\uff49\uff44\uff54\uff48 \uff11\uff12\uff13 \uff76\uff9e",
    "\u1e9e STRASSE stra\u00dfe \u0130stanbul \u0131l\u0131k \u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
    "na\u00efve fa\u00e7ade co\u00f6perate \u00e6sthetic \u00f8re \u0142\u00f3d\u017a",
    "Z\u0351\u036b\u0343a\u0310\u0308l\u0357\u030dg\u0344\u0311o\u0352\u0307",
    "\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3092\u691c\u7d22\u3059\u308b",
    "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u3002",
    "\u6771\u4eacTokyo2024\u5e74",
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5 \u1112\u1161\u11ab",
    "\U00020000\U0002a6d6 rare \u9f98",
    "\u0627\u0644\u0644\u063a\u0629\u060c \u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f \ufefb",
    "\u05d4\u05e9\u05e4\u05d4 \u05d4\u05e2\u05d1\u05e8\u05d9\u05ea \u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0915\u094d\u0937\u0947\u0924\u094d\u0930 \u095b",
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22\u0e19\u0e49\u0e33",
    "Ti\u1ebfng Vi\u1ec7t Tie\u0302\u0301ng Vie\u0323\u0302t",
    "\u0420\u0443\u0441\u0441\u043a\u0438\u0439: \u0451\u043b\u043a\u0430, \u0439\u043e\u0434 \u0438\u0306\u043e\u0434",
    "\u1200\u1230\u1270 \u0531\u0532 \u10d0\u10d1 \u13a0\u13b1",
    "emoji \U0001f600 \U0001f680\U0001f680 end",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f44d\U0001f3fd \u2764\ufe0f \U0001f1e9\U0001f1ea",
    "math \u2211 \u222b \u221a2 \u2260 \u2264 \U0001d49c \U0001d7d8 x\u00b2 H\u2082O",
    "\u20ac100 \u00a350 \u00a5900 $20 \u20bf0.5",
    "\u201cquotes\u201d \u2018single\u2019 \u00abguillemets\u00bb \u2026 \u2022",
    "1234567890 1,234.56 -7 +8 3.14e-10 0xDEADBEEF 1/2",
    "don't we're I'll they've it's HE'S we'd 'tis o'clock",
    "under_score camelCase PascalCase kebab-case SCREAMING_SNAKE",
    "def f(x):\n    return [i ** 2 for i in range(x) if i % 2 == 0]\n",
    "if (a && b || !c) { x->y += *p++; } /* comment */",
    '{"key": [1, 2.5, null, true], "text": "a\\nb"}',
    "https://www.example.com/path/to/page.html?query=a%20b&x=1#top user@mail.example.org",
    "C:\\Windows\\system32\\drivers.sys /usr/local/bin/python3.11",
    "!!! ??? ... ### $$$ ((( ))) <<<>>> ~~~",
    "[CLS] a [SEP] b [PAD] c [MASK] d [UNK]",
    "<s> a </s> b <pad> c <mask> d <unk>",
    "left<mask>right left <mask> right  <mask>  [MASK]",
    "[NEW] new [new] [NEW][NEW] x[NEW]y [ NEW ]",
    "<ent>a <ent> b<ent>  c <ENT> <|code|>x <|code|>  y<|code|>",
    "gllm Gllm GLLM gllms megagllm gllm. gllm-gllm (gllm)",
    "<0x41> <0xFF> \u2581 a\u2581b \u0120 \u00c4",
    "##ing ##s running",
    "a" * 130,
    "antidisestablishmentarianism" * 5,
    "\u00e9" * 101,
    "x " * 200,
    LONG,
    f"  {LONG}",
    "\U0001f600" * 60,
    "[NEW] " * 100,
]
PAIRS = [
    ("what is an embedding", "An embedding is a vector of numbers."),
    ("", ""),
    ("query", ""),
    ("", "passage"),
    ("a", "b"),
    ("short query", LONG),
    (LONG, "short passage"),
    (LONG, f"{LONG} once more"),
    (f"{LONG} once more", LONG),
    ("x " * 90, "y " * 60),
    ("x " * 63, "y " * 200),
    ("a [SEP] b </s> c", "d [CLS] e <s> f <mask> g"),
    ("[NEW] gllm", " <ent> [NEW]"),
    ("\u65e5\u672c\u8a9e", "\u4eca\u5929\u5929\u6c14\u5f88\u597d"),
    ("  spaces  ", "\ttabs\n"),
    ("caf\u00e9", "cafe\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467"),
]


def wordpiece():
    """BERT's, uncased."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # The trainer numbers letters as they come out of a hash map, unless they have their numbers already.
    texts = (tokenizer.normalizer.normalize_str(text) for text in CORPUS)
    words = [word for text in texts for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    first = [*special, *sorted(set("".join(words))), *sorted({f"##{char}" for word in words for char in word[1:]})]
    tokenizer.train_from_iterator(words, WordPieceTrainer(vocab_size=3000, special_tokens=first, show_progress=False))
    tokenizer = BertTokenizerFast(vocab=tokenizer.get_vocab(), do_lower_case=True, **LIMITS)
    tokenizer.add_tokens([AddedToken("[NEW]", normalized=True), AddedToken("gllm", single_word=True)])
    tokenizer.add_tokens([AddedToken("<ent>", lstrip=True, rstrip=True)], special_tokens=True)
    return tokenizer


def byte_level_bpe():
    """RoBERTa's."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, BpeTrainer(vocab_size=2400, initial_alphabet=alphabet, show_progress=False))
    vocab = tokenizer.get_vocab()
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(vocab, key=vocab.get), "<mask>"]
    merges = [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]
    vocab = {token: index for index, token in enumerate(tokens)}
    mask = AddedToken("<mask>", lstrip=True, normalized=False, special=True)
    tokenizer = RobertaTokenizer(vocab=vocab, merges=merges, mask_token=mask, **LIMITS)
    tokenizer.add_tokens([AddedToken("[NEW]", normalized=True), AddedToken("gllm", single_word=True, normalized=False)])
    tokenizer.add_tokens([AddedToken("<|code|>", rstrip=True)], special_tokens=True)
    return tokenizer


def unigram():
    """XLM-RoBERTa's, with byte fallback."""
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.tsv"
        rules.write_text("\n".join(RULES) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS),
            model_writer=model,
            model_type="unigram",
            vocab_size=2400,
            character_coverage=0.999,
            byte_fallback=True,
            normalization_rule_tsv=str(rules),
            num_threads=1,
            minloglevel=2,
        )
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    pieces = [(piece.piece, piece.score) for piece in proto.pieces[3:]]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tokenizer = Tokenizer(Unigram([*special, *pieces, ("<mask>", 0.0)], unk_id=3, byte_fallback=True))
    table = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    strip, spaces = normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "\u2581")
    tokenizer.normalizer = normalizers.Sequence([table, strip, spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    metaspace = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), metaspace])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **LIMITS,
        model_input_names=["input_ids", "attention_mask"],
        bos_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        cls_token="<s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
    )
    tokenizer.add_tokens([AddedToken("[NEW]", normalized=True), AddedToken("gllm", single_word=True, normalized=False)])
    tokenizer.add_tokens([AddedToken("<ent>", lstrip=True, rstrip=True)], special_tokens=True)
    tokenizer.add_tokens([AddedToken("<|code|>", rstrip=True, normalized=False)])
    return tokenizer


def expected(tokenizer):
    def encode(*texts):
        # Of a pair the second text is cut, as long as the first one leaves it room.
        room = LIMIT - tokenizer.num_special_tokens_to_add(pair=True)
        leaves_room = len(texts) == 2 and len(tokenizer.tokenize(texts[0])) < room
        # Lists, because transformers drops the second text of a lone pair when it is empty.
        lists = ([text] for text in texts)
        truncation = "only_second" if leaves_room else "longest_first"
        encoding = tokenizer(*lists, truncation=truncation, max_length=LIMIT).encodings[0]
        return {"ids": encoding.ids, "type_ids": encoding.type_ids}

    return {"texts": [encode(text) for text in TEXTS], "pairs": [encode(*pair) for pair in PAIRS]}


def main():
    (OUT / "texts.json").write_text(json.dumps(TEXTS, indent=2) + "\n")
    (OUT / "pairs.json").write_text(json.dumps({"pairs": PAIRS}, indent=2) + "\n")
    for make in (wordpiece, byte_level_bpe, unigram):
        folder = OUT / make.__name__
        shutil.rmtree(folder, ignore_errors=True)
        tokenizer = make()
        tokenizer.save_pretrained(folder)
        lines = json.dumps(expected(tokenizer)).replace('{"ids"', '\n{"ids"')
        (folder / "expected.json").write_text(lines + "\n")


if __name__ == "__main__":
    main()
