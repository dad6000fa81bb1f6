"""PyTorch with transformers as an encoder in float32: `cargo xtask bench embed --against torch` starts it."""

import protocol

protocol.require(torch="torch", transformers="transformers", tokenizers="tokenizers", numpy="numpy")

import torch  # noqa: E402

import encoder  # noqa: E402


def main():
    options = encoder.arguments()
    torch.set_num_threads(options.threads)
    model = encoder.network(options)

    @torch.inference_mode()
    def forward(inputs):
        return model(*map(torch.from_numpy, inputs)).numpy()

    protocol.serve({"program": f"PyTorch {torch.__version__.split('+')[0]}"}, encoder.Encoder(options, forward).tasks())


main()
