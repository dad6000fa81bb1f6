"""Make layers quantised as GPTQ checkpoints have them, packed and dequantised by AutoGPTQ and by GPTQModel.

Usage: python tests/golden/gptq/make.py

Writes beside itself, for each case, `<case>.safetensors` and `<case>.json`. `expected.weight` is what the project's own
layer computes, in float16. AutoGPTQ packs the format `gptq`, GPTQModel `gptq_v2` and, from it, `gptq`.

Of GPTQModel, only the functions that pack and unpack are loaded, cut out of its files: the rest wants a dozen packages.
"""

import ast
import contextlib
import math
import sys
import types
from pathlib import Path

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent.parent))
from quantized import auto_gptq, layer, unpack, write

OUT = Path(__file__).parent

QuantLinear = auto_gptq()
gptqmodel = unpack("gptqmodel==7.7.0", "039874c39fb56ba75b750dd4870968e7fe83b6ca28890a53e94ad3c46be699d0")


def cut_out(path, names, **scope):
    """The functions called `names`, which may be methods, of the file at `path`, with `scope` as their globals."""
    tree = ast.parse((gptqmodel / path).read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in names]
    assert sorted(node.name for node in found) == sorted(names)
    exec(compile(ast.Module(found, []), path, "exec"), scope)
    return {name: scope[name] for name in names}


layers = cut_out(
    "gptqmodel/nn_modules/qlinear/__init__.py",
    ["pack_original", "dequantize_weight", "_dequantize_from_codes", "_torch_right_shift"],
    THREADPOOLCTL=types.SimpleNamespace(threadpool_limits=lambda _: contextlib.nullcontext()),
    _ConvNd=torch.nn.modules.conv._ConvNd,
    math=math,
    nn=torch.nn,
    np=np,
    t=torch,
    transformers=transformers,
)
formats = cut_out(
    "gptqmodel/utils/model.py",
    ["convert_gptq_v1_to_v2_format_module", "convert_gptq_v2_to_v1_format_module"],
    BaseQuantLinear=torch.nn.Module,
    QuantizeConfig=None,
    log=types.SimpleNamespace(info=types.SimpleNamespace(once=lambda _: None)),
    nn=torch.nn,
    torch=torch,
)


class Packed(torch.nn.Module):
    """What the functions of GPTQModel's layer expect of it."""

    planar = False
    pack_dtype, pack_dtype_bits = torch.int32, 32
    pack_np_dtype, pack_np_math_dtype = np.int32, np.uint32
    pack = layers["pack_original"]
    dequantize_weight = layers["dequantize_weight"]
    _dequantize_from_codes = layers["_dequantize_from_codes"]

    def __init__(self, bits, inputs):
        super().__init__()
        self.bits, self.in_features = bits, inputs
        self.maxq, self.pack_factor = 2**bits - 1, 32 // bits
        self.dequant_dtype = torch.int16 if bits == 8 else torch.int8
        shifts = torch.arange(0, 32, bits, dtype=torch.int32)
        self.wf_unsqueeze_zero, self.wf_unsqueeze_neg_one = shifts[None, None, :], shifts[None, :, None]

    def _init_wf_unsqueeze_buffers(self):
        pass

    def qzero_format(self, format):
        pass


def by_auto_gptq(bits, group_size, linear, codes_of):
    inputs, outputs = linear.in_features, linear.out_features
    packed = QuantLinear(bits, group_size, inputs, outputs, bias=False)
    packed.pack(linear, codes_of.scales.float(), codes_of.zeros.float(), codes_of.g_idx)
    packed.scales = packed.scales.half()
    # Row by row of the identity, its forward pass gives the weights.
    return packed, packed(torch.eye(inputs, dtype=torch.float16)).t()


def by_gptqmodel(bits, linear, codes_of, as_v1):
    packed = Packed(bits, linear.in_features)
    packed.pack(linear, codes_of.scales.float(), codes_of.zeros.float(), codes_of.g_idx)
    if as_v1:
        formats["convert_gptq_v2_to_v1_format_module"](packed, types.SimpleNamespace(bits=bits, pack_dtype=torch.int32))
    stored = packed.qzeros.clone()
    if as_v1:
        formats["convert_gptq_v1_to_v2_format_module"](packed, bits, torch.int32)
    weight = packed.dequantize_weight().t()
    packed.qzeros = stored
    return packed, weight


def case(name, seed, outputs, inputs, bits, group_size, *, symmetric=False, desc_act=False, by="auto-gptq"):
    resolved = inputs if group_size == -1 else group_size
    # AutoGPTQ's `gptq` has no zero of 0: it stores them one lower.
    zeros_from = 1 if by == "auto-gptq" else 0
    codes, zeros, scales = layer(seed, outputs, inputs, resolved, bits, symmetric, zeros_from)
    g_idx = torch.arange(inputs, dtype=torch.int32) // resolved
    if desc_act:
        g_idx = g_idx[torch.randperm(inputs, generator=torch.Generator().manual_seed(seed))]
    linear = torch.nn.Linear(inputs, outputs, bias=False)
    linear.weight.data = scales.float()[:, g_idx] * (codes - zeros[:, g_idx])
    codes_of = types.SimpleNamespace(scales=scales, zeros=zeros, g_idx=g_idx)
    if by == "auto-gptq":
        packed, weight = by_auto_gptq(bits, group_size, linear, codes_of)
    else:
        packed, weight = by_gptqmodel(bits, linear, codes_of, as_v1=by == "gptqmodel-v1")
    tensors = {name: getattr(packed, name) for name in ["qweight", "qzeros", "scales", "g_idx"]}
    config = {
        "bits": bits,
        "checkpoint_format": "gptq_v2" if by == "gptqmodel-v2" else "gptq",
        "damp_percent": 0.01,
        "desc_act": desc_act,
        "group_size": group_size,
        "quant_method": "gptq",
        "sym": symmetric,
        "true_sequential": True,
    }
    write(OUT, name, config, tensors, codes, zeros, weight)


case("group-32", 1, 32, 96, 4, 32)
case("group-128-symmetric", 2, 32, 256, 4, 128, symmetric=True)
case("group-64-desc-act", 3, 32, 192, 4, 64, desc_act=True)
case("whole-row", 4, 64, 96, 4, -1)
case("8-bits", 5, 32, 128, 8, 64)
case("8-bits-desc-act", 6, 32, 96, 8, 32, symmetric=True, desc_act=True)
case("v2-group-32", 7, 24, 96, 4, 32, by="gptqmodel-v2")
case("v2-8-bits-desc-act", 8, 20, 96, 8, 32, desc_act=True, by="gptqmodel-v2")
case("v1-of-v2", 9, 40, 96, 4, 32, by="gptqmodel-v1")
case("v1-of-v2-8-bits", 10, 24, 64, 8, 32, by="gptqmodel-v1")
