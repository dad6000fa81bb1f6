"""Tokenizers of 64 tokens, which llama.cpp's converter asks for."""

import io

import sentencepiece
from answers import VOCAB
from tiny import CORPUS
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>"]
LETTERS = " \nabcdefghijklmnopqrstuvwxyz0123456789.,'"


def lowercase():
    return ["".join(letter for letter in text.lower() if letter in LETTERS) for text in CORPUS]


def byte_level(folder, pre):
    """Byte-level BPE without most bytes: lower-case ASCII is all that it knows."""
    tokenizer = Tokenizer(BPE(ignore_merges=pre == "llama-bpe"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(lowercase(), trainer)
    assert tokenizer.get_vocab_size() == VOCAB
    roles = {"pad_token": "<|endoftext|>", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **roles).save_pretrained(folder)


def sentence_piece(folder):
    """Gemma's kind, without bytes."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lowercase()),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCAB,
        normalization_rule_name="identity",
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
