"""ONNX Runtime as an encoder, in float32 or with `--int8`: `cargo xtask bench embed --against onnxruntime` starts it.

The model is exported by PyTorch once, and its weights quantised per channel, activations as they come.
"""

import protocol

protocol.require(
    onnxruntime="onnxruntime", onnx="onnx", sympy="sympy", torch="torch", transformers="transformers",
    tokenizers="tokenizers", numpy="numpy",
)  # fmt: skip

import hashlib  # noqa: E402
import os  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402

import onnxruntime  # noqa: E402

import encoder  # noqa: E402

LARGE = 1 << 30  # bytes; a file of ONNX alone holds no more than twice that


def main():
    options = encoder.arguments()
    if options.only_make:
        return file(options)
    # By a process of its own: PyTorch's memory isn't ONNX Runtime's.
    subprocess.run([sys.executable, *sys.argv, "--only-make"], check=True)
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(file(options), session_options, providers=["CPUExecutionProvider"])
    names = encoder.names(options)

    def forward(inputs):
        return session.run(None, dict(zip(names, inputs)))[0]

    program = f"ONNX Runtime {onnxruntime.__version__} {'int8' if options.int8 else 'float32'}"
    protocol.serve({"program": program}, encoder.Encoder(options, forward).tasks())


def file(options):
    """The model's path, made where it isn't there. Each model has a folder: a large one is many files."""
    name = hashlib.sha256(f"{options.task} {os.path.abspath(options.model)}".encode()).hexdigest()[:12]
    folders = [os.path.join(options.cache, f"{name}-{kind}") for kind in ("f32", "int8")]
    plain, quantised = (os.path.join(folder, "model.onnx") for folder in folders)
    if not os.path.exists(plain):
        make(folders[0], lambda path: export(options, path))
    if options.int8 and not os.path.exists(quantised):
        make(folders[1], lambda path: quantise(options, plain, path))
    return quantised if options.int8 else plain


def make(folder, write):
    """Whole, or not there."""
    part = f"{folder}-part-{os.getpid()}"
    os.makedirs(part)
    write(os.path.join(part, "model.onnx"))
    os.rename(part, folder)


def export(options, path):
    import torch

    names = encoder.names(options)
    axes = {name: {0: "rows", 1: "tokens"} for name in names}
    axes["output"] = {0: "rows"} if options.task == "rerank" else {0: "rows", 1: "tokens"}
    example = tuple(torch.ones(2, 16, dtype=torch.long) for _ in names)
    torch.onnx.export(
        encoder.network(options, attn_implementation="eager"), example, path, input_names=names,
        output_names=["output"], dynamic_axes=axes, opset_version=17, dynamo=False,
    )  # fmt: skip


def quantise(options, plain, path):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    is_large = os.path.getsize(os.path.join(options.model, "model.safetensors")) > LARGE
    quantize_dynamic(plain, path, weight_type=QuantType.QInt8, per_channel=True, use_external_data_format=is_large)


main()
