//! Layers quantised by groups: as the projects pack them, as a test packs them, and malformed.

mod compressed_tensors;
mod configurations;
mod golden;
mod layers;
mod malformed;
mod packing;
