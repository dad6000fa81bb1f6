//! PyTorch checkpoints from what `torch.save` wrote to what an attacker would.

mod archives;
mod builder;
mod golden;
mod legacy;
mod mutations;
mod pickles;
