"""Make the texts, token ids and embeddings that gllm must reproduce with the real all-MiniLM-L6-v2.

Usage: python tests/golden/minilm.py MODEL_DIR

MODEL_DIR is a download of sentence-transformers/all-MiniLM-L6-v2. Writes into tests/golden/minilm:
texts.json (a list of strings), tokens.json (per text the ids fed to the model and, as `total`, how many
ids there were before truncation) and embeddings.npy (float32 [texts, 384], one text at a time).
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers.utils import logging

OUT = Path(__file__).parent / "minilm"

RUST = """fn main() {
    let total: u64 = (1..=10).filter(|n| n % 2 == 0).map(|n| n * n).sum();
    println!("{total:>8}"); // 220
}
"""
PYTHON = '''def fib(n: int) -> int:
    """The n-th Fibonacci number."""
    return n if n < 2 else fib(n - 1) + fib(n - 2)
'''
HTML = '<div class="note"><p>Tom &amp; Jerry &lt;3 <a href="/x?a=1&b=2">caf&eacute;</a></p><!-- end --></div>'
MARKDOWN = "# Title\n\n* one\n* **two** and _three_\n\n> quoted `code`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
STORY = (
    "On the first morning of the voyage the captain counted forty sails on the horizon and said nothing. "
    "By noon the wind had turned; the cook burned the soup, and a boy from the village learned to tie a bowline. "
    "Nobody aboard believed the old maps, yet everyone steered by them, because there was nothing else to trust. "
)
NOUNS = "river engine garden letter planet teacher bridge market winter violin harbour theorem kitchen forest".split()
VERBS = "crosses repairs remembers paints follows measures forgets builds answers borrows".split()


def long_text(words):
    """`words` words that do not simply repeat with a short period."""
    cycle = (NOUNS[i * i % 14] if i % 3 else VERBS[i // 3 * 7 % 10] for i in range(words))
    return " ".join(cycle)


TEXTS = [
    # Almost nothing.
    "",
    " ",
    "   \n\t ",
    "a",
    "Z",
    "7",
    ".",
    "\u4e2d",
    "Hi.",
    "No",
    "Is it?",
    # Ordinary English.
    "That is a happy person",
    "That is a very happy person!",
    "The cat sits outside, watching the rain.",
    "A man is playing guitar on the street corner.",
    "How do I reset my password if I no longer have access to my e-mail?",
    "Photosynthesis converts light energy into chemical energy stored in glucose.",
    "The Supreme Court ruled 5\u20134 in favour of the plaintiff on Tuesday.",
    "I don't think we shouldn't've gone; it's o'clock, isn't it?",
    "\u201cCurly quotes\u201d \u2014 and an em dash, an ellipsis\u2026 and a caf\u00e9.",
    STORY,
    "WHY ARE YOU SHOUTING AT ME IN ALL CAPITALS",
    "cAmElCaSe, snake_case, kebab-case and SCREAMING_SNAKE_CASE",
    "Pneumonoultramicroscopicsilicovolcanoconiosis and antidisestablishmentarianism",
    "Colourless green ideas sleep furiously.",
    "asdkjh qwoeiru zxmcnb vbnty plokij",
    # Repetition.
    "buffalo buffalo buffalo buffalo buffalo buffalo buffalo buffalo",
    "ha" * 40,
    "very " * 60 + "good",
    # Other scripts.
    "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u6563\u6b65\u5427\u3002",
    "\u7e41\u9ad4\u4e2d\u6587\u8207\U00020000\U0002a6d6\u7f55\u898b\u5b57",
    "\u5409\u8f29\u306f\u732b\u3067\u3042\u308b\u3002\u540d\u524d\u306f\u307e\u3060\u7121\u3044\u3002",
    "\u30ab\u30bf\u30ab\u30ca\u3068\uff8a\uff9d\uff76\uff78\uff76\uff85 \uff21\uff22\uff23\uff11\uff12\uff13",
    "\u304c\u304e\u3050 \u304b\u3099\u304d\u3099\u304f\u3099",
    "\uc548\ub155\ud558\uc138\uc694, \ub9cc\ub098\uc11c \ubc18\uac11\uc2b5\ub2c8\ub2e4.",
    "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "\u0627\u0644\u0633\u0644\u0627\u0645 \u0639\u0644\u064a\u0643\u0645\u060c \u0643\u064a\u0641 \u062d\u0627\u0644\u0643\u061f",
    "\u0627\u0644\u0633\u0651\u064e\u0644\u064e\u0627\u0645\u064f \u0639\u064e\u0644\u064e\u064a\u0652\u0643\u064f\u0645\u0652 \u0661\u0662\u0663",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd, \u05de\u05d4 \u05e9\u05dc\u05d5\u05de\u05da?",
    "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e, \u0906\u092a \u0915\u0948\u0938\u0947 \u0939\u0948\u0902?",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    "\u0ba4\u0bae\u0bbf\u0bb4\u0bcd \u0bae\u0bca\u0bb4\u0bbf, \u09ac\u09be\u0982\u09b2\u09be \u09ad\u09be\u09b7\u09be",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0401\u043b\u043a\u0430 \u0438 \u0439\u043e\u0433\u0443\u0440\u0442.",
    "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u03ba\u03cc\u03c3\u03bc\u03b5, \u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03bf\u03b4\u03c5\u03c3\u03c3\u03b5\u03cd\u03c2",
    "\u10e5\u10d0\u10e0\u10d7\u10e3\u10da\u10d8, \u0540\u0561\u0575\u0565\u0580\u0565\u0576, \u12a0\u121b\u122d\u129b",
    # Latin with marks, and letters whose lower case is special.
    "Cr\u00e8me br\u00fbl\u00e9e \u00e0 la fran\u00e7aise, na\u00efve co\u00f6perat\u00efon, \u0141\u00f3d\u017a",
    "Cre\u0300me bru\u0302le\u0301e a\u0300 la franc\u0327aise, nai\u0308ve coo\u0308perati\u0308on, \u0141o\u0301dz\u0301",
    "\u0130stanbul'da \u0131\u015f\u0131k, I\u011fd\u0131r \u0130\u00c7\u0130N i\u0307",
    "Stra\u00dfe STRA\u1e9eE Ma\u00dfe \u00c4\u00d6\u00dc \u00e4\u00f6\u00fc",
    "Ti\u1ebfng Vi\u1ec7t c\u00f3 nhi\u1ec1u d\u1ea5u thanh",
    "\ufb01ne \ufb02ow \ufb03x \u2460\u2461\u2462 \u212b \u2126 \u017f\u00fd\u017ft\u00e9m",
    "Z\u0351\u036b\u0343\u036aA\u0334\u0335\u031cL\u0321\u0353\u031eG\u036c\u0307\u0313O\u0489\u0344\u0352",
    # Symbols.
    "\u2200x \u2208 \u211d: x\u00b2 \u2265 0 \u2227 \u222b\u2080\u00b9 \u221ax dx = \u2154 \u2260 \u221e",
    "\U0001d400\U0001d401\U0001d402 \U0001d4d7\U0001d4ee\U0001d4f5\U0001d4f5\U0001d4f8 \U0001d7d9\U0001d7da\U0001d7db",
    "$9.99, \u20ac1.234,56, \u00a3100, \u00a55000, \u20b920 \u00a9 \u00ae \u2122 \u00b0 \u00b5 \u00a7 \u00b6",
    "!?.,;:-_()[]{}<>/\\|@#$%^&*+=~`'\"",
    "\u3001\u3002\u300c\u300d\u30fb\u2026\u2014\u2015\u2020\u2021\u203d\u00bf\u00a1\u2042",
    "... --- ... !!! ??? ***",
    "\U0001f600",
    "I \u2764\ufe0f you \U0001f600\U0001f44d\U0001f3fd!",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 and \U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f1e9\U0001f1ea\U0001f1ef\U0001f1f5\U0001f1e7\U0001f1f7 1\ufe0f\u20e3",
    # Numbers.
    "3.14159265358979 -42 1e-12 0xDEADBEEF 1,000,000 007 \u00bd 10\u207b\u00b3",
    "2024-02-29T23:59:60Z +1 (555) 010-9999 192.168.0.1 ::1",
    "12345678901234567890123456789012345678901234567890",
    # Machine text.
    HTML,
    RUST,
    PYTHON,
    MARKDOWN,
    '{"id": 17, "tags": ["a", null, true], "nested": {"pi": 3.14, "s": "\\u00e9\\n"}}',
    "https://www.example.com:8080/path/to/page.html?query=a%20b&lang=en#section-2",
    "Write to jane.doe+news@mail.example.org or <support@example.com>.",
    "SELECT name, COUNT(*) FROM users WHERE age >= 21 GROUP BY name HAVING COUNT(*) > 1;",
    r"C:\Users\me\Documents\report (final).docx and /usr/local/lib/libfoo.so.1.2.3",
    "\\frac{a}{b} \\sum_{i=0}^{n} x_i^2",
    # Special tokens written out.
    "[CLS] hello [SEP] world [MASK] [PAD] [UNK]",
    "The capital of France is [MASK].",
    "[cls] [Sep] [ MASK ] [[PAD]] ##ing [unused1]",
    "[SEP]",
    "before[SEP]after",
    # Characters that tokenizers drop, or should.
    "nul\u0000bell\u0007escape\u001bdelete\u007fnext\u0085",
    "zero\u200bwidth \u200cnon\u200djoiner \u2060word \ufeffbom soft\u00adhyphen",
    "\ufeffStarts with a byte order mark",
    "tab\tcarriage\r\nnew\nline\u000bvertical\u000cform\u2028line\u2029paragraph",
    "no\u00a0break\u202fnarrow\u3000ideographic\u2003em\u1680ogham",
    "\u0000",
    "\u200b",
    "\ufffd replaced \ufffd\ufffd",
    "private \ue000 \uf8ff \U000f0000 unassigned \u0378 \U0005abcd last \U0010fffd",
    "non-characters \ufffe \uffff \U0010ffff \ufdd0",
    # Directions and scripts mixed.
    "English \u05e2\u05d1\u05e8\u05d9\u05ea \u0627\u0644\u0639\u0631\u0628\u064a\u0629 123 \u202eoverridden\u202c \u2067isolate\u2069",
    "The word \u0441\u0430t has Cyrillic letters; \u65e5\u672c\u8a9e\u3068English\u6df7\u5408text\ud55c\uae00",
    # Long words: WordPiece gives up after 100 characters.
    "a" * 100,
    "a" * 101,
    "abcdefghij" * 30,
    "supercalifragilistic" * 5 + " ends",
    "\u00e9" * 101 + " \u00e9t\u00e9",
    "\u6f22" * 130,
    # Around the limit of 256 tokens, [CLS] and [SEP] included: " word" is one token.
    "word " * 251 + "word",
    "word " * 252 + "word",
    "word " * 253 + "word",
    "word " * 254 + "word",
    "word " * 252 + "unbelievabilities",
    STORY * 5,
    "\u0414\u043b\u0438\u043d\u043d\u044b\u0439 \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0442\u0435\u043a\u0441\u0442. " * 20,
    "?!" * 200,
    long_text(5000),
]


def main(model_dir):
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = SentenceTransformer(
        model_dir,
        device="cpu",
        local_files_only=True,
        model_kwargs={"attn_implementation": "eager", "dtype": torch.float32},
    )
    tokens = [
        {"ids": model.preprocess([text])["input_ids"][0].tolist(), "total": len(model.tokenizer(text)["input_ids"])}
        for text in TEXTS
    ]
    OUT.mkdir(exist_ok=True)
    (OUT / "texts.json").write_text(json.dumps(TEXTS, indent=0) + "\n")
    (OUT / "tokens.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in tokens) + "\n]\n")
    np.save(OUT / "embeddings.npy", model.encode(TEXTS, batch_size=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
