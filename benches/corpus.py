"""Writes a corpus for the benchmarks: docstrings of the running Python's standard library, one a line.

usage: corpus.py OUT [COUNT=1024]
"""
import pathlib
import random
import re
import sys
import sysconfig

out, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1024
texts = []
for path in sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
    source = path.read_text(encoding="utf8", errors="ignore")
    texts += [" ".join(text.split()) for text in re.findall(r'"""(.*?)"""', source, re.S)]
texts = [text for text in texts if len(text) > 30]
random.Random(7).shuffle(texts)
pathlib.Path(out).write_text("\n".join(texts[:count]) + "\n", encoding="utf8")
print(f"{len(texts[:count])} texts, {sum(map(len, texts[:count]))} characters")
