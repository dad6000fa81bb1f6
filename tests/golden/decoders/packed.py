"""Checkpoints whose layers are packed by AutoAWQ's and AutoGPTQ's own code, and the weights that they stand for."""

import json

import torch
from quantized import auto_awq, auto_gptq
from safetensors.torch import save_file

GROUP = 32


def quantise(weight):
    """Codes [outputs, inputs], zeros and scales [outputs, groups] of weights in 4 bits. No zero is 0: `gptq` has none."""
    groups = weight.reshape(weight.shape[0], -1, GROUP)
    low, high = groups.amin(-1), groups.amax(-1)
    scales = ((high - low) / 14).half().float()
    zeros = (-low / scales).round().clamp(1, 15)
    codes = (groups / scales[..., None] + zeros[..., None]).round().clamp(0, 15)
    return codes.reshape(weight.shape), zeros, scales


def spread(groups):
    return groups.repeat_interleave(GROUP, 1)


class Awq:
    def __init__(self):
        config, self.layer, self.dequantize = auto_awq()
        self.config = config(q_group_size=GROUP, version="gemm").to_transformers_dict()

    def pack(self, linear, zeros, scales):
        packed = self.layer.from_linear(linear, 4, GROUP, scales=scales.t(), zeros=zeros.t())
        weight = self.dequantize(packed.qweight, packed.qzeros, packed.scales, 4, GROUP).t()
        return {name: getattr(packed, name) for name in ("qweight", "qzeros", "scales")}, weight


class Gptq:
    def __init__(self):
        self.layer = auto_gptq()
        self.config = {
            "bits": 4,
            "checkpoint_format": "gptq",
            "desc_act": False,
            "group_size": GROUP,
            "quant_method": "gptq",
            "sym": False,
        }

    def pack(self, linear, zeros, scales):
        inputs, outputs = linear.in_features, linear.out_features
        packed = self.layer(4, GROUP, inputs, outputs, bias=False)
        packed.pack(linear, scales, zeros, torch.arange(inputs, dtype=torch.int32) // GROUP)
        packed.scales = packed.scales.half()
        # Row by row of the identity, its forward pass gives the weights.
        weight = packed(torch.eye(inputs, dtype=torch.float16)).t()
        return {name: getattr(packed, name) for name in ("qweight", "qzeros", "scales", "g_idx")}, weight


def pack(model, by, folder):
    """Puts packed layers into the checkpoint of `model` that is in `folder`, and what they stand for into `model`.

    Those weights are exact products in float32; what the project dequantises is these, rounded to half precision.
    """
    tensors = {name: tensor.half() for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or name == "lm_head":
            continue
        codes, zeros, scales = quantise(module.weight.data)
        weight = spread(scales) * (codes - spread(zeros))
        module.weight.data = weight
        plain = torch.nn.Linear(module.in_features, module.out_features, bias=False)
        plain.weight.data = weight
        packed, found = by.pack(plain, zeros, scales)
        assert torch.equal(found.float(), weight.half().float()), name
        del tensors[f"{name}.weight"]
        tensors |= {f"{name}.{part}": tensor for part, tensor in packed.items()}
    if model.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    metadata = {"format": "pt"}
    save_file({name: t.contiguous() for name, t in tensors.items()}, folder / "model.safetensors", metadata)
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), "dtype": "float16", "quantization_config": by.config}
    path.write_text(json.dumps(config, indent=2) + "\n")


def rounded(activations):
    """To 8 bits, in groups of 32 with a scale each, as products on packed weights take them."""
    groups = activations.reshape(*activations.shape[:-1], -1, 32)
    scales = groups.abs().amax(-1, keepdim=True) / 127
    return ((groups / scales).round() * scales).reshape(activations.shape)


def logits_of_rounded(model, ids):
    """`[tokens, vocab]`, where what goes into packed layers is rounded."""
    layers = [module for module in model.model.modules() if isinstance(module, torch.nn.Linear)]
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0]),)) for layer in layers]
    with torch.no_grad():
        found = model(torch.tensor([ids])).logits[0]
    for hook in hooks:
        hook.remove()
    return found
