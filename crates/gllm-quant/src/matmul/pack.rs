//! A matrix of integer weights, sorted for kernels.
//!
//! The inputs are cut into slabs, whose activations are few enough to stay in the first cache while the weights of one
//! panel after the other run through it; sixteen outputs make a panel, which is one stream of bytes in each slab, in the
//! order of the inputs:
//!
//! ```text
//! slab  = panel…                     one for each sixteen outputs
//! panel = span…                      a span is the inputs that share a `d`
//! span  = d[16] dmin[16]? block…     f16; `dmin` where there are minima
//! block = scale[sub][16]? min[sub][16]? planes        i8, or one of four bits each
//! ```
//!
//! The 32 × 16 codes of a block are cut into planes of 8, 4, 2 or 1 bits, the lowest bits first: 6 bits are a plane of
//! 4 and one of 2. A plane of `b` bits is `b` vectors of 64 bytes, a byte for each of 4 inputs of each of 16 outputs;
//! field `f` of vector `v` has the bits of the inputs `4 · (f · b + v)` and the next three. Outputs that are missing
//! in the last panel are all zeros.

use std::ops::Range;

use bytemuck::cast_slice;
use half::f16;
use rayon::prelude::*;

use super::{BLOCK, Format, FormatKind, GROUP, Mins, PANEL};
use crate::blocks::IntegerBlock;
use crate::huge_pages::HugeVec;

/// Most inputs of a slab, unless a span has more.
const SLAB: usize = 2048;

/// `[outputs, inputs]`, packed.
#[derive(Clone)]
pub(crate) struct PackedMatrix {
    kind: FormatKind,
    outputs: usize,
    inputs: usize,
    /// Blocks of a span.
    span_blocks: usize,
    /// Spans of a slab; the last one may have fewer.
    slab_spans: usize,
    bytes: HugeVec<u8>,
}

/// The weights of an output.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowCodes {
    /// `[inputs]`.
    pub(crate) codes: Vec<u8>,
    /// `[spans]`.
    pub(crate) d: Vec<f16>,
    /// `[spans]`, where there are minima.
    pub(crate) dmin: Vec<f16>,
    /// `[inputs / sub]`, where sub-blocks have scales.
    pub(crate) scales: Vec<i8>,
    /// `[inputs / sub]`, where sub-blocks have minima.
    pub(crate) mins: Vec<i8>,
}

impl RowCodes {
    /// From blocks as they lie in a file.
    pub(crate) fn from_blocks<B: IntegerBlock>(bytes: &[u8]) -> Self {
        let blocks: &[B] = cast_slice(bytes);
        let len = B::TYPE.block_len();
        let subs = blocks.len() * (len / B::SUB);
        let mut row = Self {
            codes: vec![0; blocks.len() * len],
            d: Vec::with_capacity(blocks.len()),
            dmin: Vec::with_capacity(blocks.len()),
            scales: Vec::with_capacity(subs),
            mins: Vec::with_capacity(subs),
        };
        for (block, codes) in blocks.iter().zip(row.codes.chunks_exact_mut(len)) {
            block.codes(codes);
            row.d.push(block.d());
            row.dmin.push(block.dmin());
            for sub in 0..len / B::SUB {
                row.scales.push(block.scale(sub));
                // At most 63.
                row.mins.push(block.min(sub).cast_signed());
            }
        }
        row
    }
}

impl PackedMatrix {
    /// Packs the rows that `row` gives, of `inputs` each; `span` inputs share a `d`. Both are multiples of [`BLOCK`],
    /// and `span` divides `inputs`.
    pub(crate) fn new(
        kind: FormatKind,
        [outputs, inputs]: [usize; 2],
        span: usize,
        row: impl Fn(usize) -> RowCodes + Sync,
    ) -> Self {
        assert!(inputs.is_multiple_of(span) && span.is_multiple_of(BLOCK), "{inputs} inputs in spans of {span}");
        let (format, blocks) = (kind.format(), span / BLOCK);
        let n_panels = outputs.div_ceil(PANEL);
        let bytes = HugeVec::zeros(n_panels * (inputs / span) * span_bytes(&format, blocks));
        let slab_spans = (SLAB / span).max(1);
        let mut matrix = Self { kind, outputs, inputs, span_blocks: blocks, slab_spans, bytes };
        // Each with its part of each slab.
        let mut panels: Vec<Vec<&mut [u8]>> = (0..n_panels).map(|_| Vec::new()).collect();
        let sizes: Vec<usize> = (0..matrix.slabs()).map(|slab| matrix.panel_bytes(slab)).collect();
        let mut rest = &mut *matrix.bytes;
        for size in sizes {
            for panel in &mut panels {
                panel.extend(rest.split_off_mut(..size));
            }
        }
        panels.par_iter_mut().enumerate().for_each(|(panel, parts)| {
            for lane in 0..PANEL.min(outputs - panel * PANEL) {
                write_row(&format, blocks, parts, lane, &row(panel * PANEL + lane));
            }
        });
        matrix
    }

    pub(crate) fn kind(&self) -> FormatKind {
        self.kind
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Blocks of a span.
    pub(crate) fn span_blocks(&self) -> usize {
        self.span_blocks
    }

    pub(crate) fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    pub(crate) fn slabs(&self) -> usize {
        self.blocks().div_ceil(self.slab_spans * self.span_blocks)
    }

    /// The blocks of a slab.
    pub(crate) fn slab(&self, slab: usize) -> Range<usize> {
        let most = self.slab_spans * self.span_blocks;
        slab * most..self.blocks().min((slab + 1) * most)
    }

    /// The bytes of a panel in a slab.
    pub(crate) fn panel(&self, slab: usize, panel: usize) -> &[u8] {
        let (size, before) = (self.panel_bytes(slab), slab * self.panels() * self.panel_bytes(0));
        &self.bytes[before + panel * size..][..size]
    }

    /// Bytes of all panels.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn blocks(&self) -> usize {
        self.inputs / BLOCK
    }

    fn panel_bytes(&self, slab: usize) -> usize {
        self.slab(slab).len() / self.span_blocks * span_bytes(&self.kind.format(), self.span_blocks)
    }
}

const fn span_bytes(format: &Format, blocks: usize) -> usize {
    format.header_bytes() + blocks * format.block_bytes()
}

/// Writes the weights of output `lane` of a panel, whose parts are those of the slabs.
fn write_row(format: &Format, span_blocks: usize, panel: &mut [&mut [u8]], lane: usize, row: &RowCodes) {
    let spans = panel.iter_mut().flat_map(|part| part.chunks_exact_mut(span_bytes(format, span_blocks)));
    for (span, bytes) in spans.enumerate() {
        let (header, blocks) = bytes.split_at_mut(format.header_bytes());
        let mut write = |half: usize, value: f16| {
            header[2 * (half * PANEL + lane)..][..2].copy_from_slice(&value.to_le_bytes());
        };
        write(0, row.d[span]);
        if format.mins != Mins::None {
            write(1, row.dmin[span]);
        }
        for (index, block) in blocks.chunks_exact_mut(format.block_bytes()).enumerate() {
            write_block(format, block, lane, row, span * span_blocks + index);
        }
    }
}

fn write_block(format: &Format, bytes: &mut [u8], lane: usize, row: &RowCodes, block: usize) {
    let (subs, planes) = bytes.split_at_mut(format.sub_bytes());
    let own = |values: &[i8], sub: usize| values[block * format.subs + sub].cast_unsigned();
    for (sub, scale) in subs.chunks_exact_mut(PANEL).enumerate() {
        scale[lane] = match sub.checked_sub(if format.has_sub_scales { format.subs } else { 0 }) {
            None if format.mins == Mins::BesideScale => own(&row.scales, sub) | (own(&row.mins, sub) << 4),
            None => own(&row.scales, sub),
            Some(sub) => own(&row.mins, sub),
        };
    }
    let codes = row.codes[block * BLOCK..(block + 1) * BLOCK].as_chunks().0;
    let mut below = 0;
    let mut planes = planes;
    for width in plane_widths(format.bits) {
        let (plane, rest) = planes.split_at_mut(64 * width);
        match width {
            8 => write_plane::<8>(plane, lane, codes, below),
            4 => write_plane::<4>(plane, lane, codes, below),
            2 => write_plane::<2>(plane, lane, codes, below),
            _ => write_plane::<1>(plane, lane, codes, below),
        }
        below += width;
        planes = rest;
    }
}

/// Writes the bits of an output's codes from `below` on into a plane of so many; there is nothing of it yet.
fn write_plane<const WIDTH: usize>(plane: &mut [u8], lane: usize, codes: &[[u8; GROUP]], below: usize) {
    let mask = u32::from_le_bytes([0xff >> (8 - WIDTH); GROUP]);
    for (vector, bytes) in plane.chunks_exact_mut(GROUP * PANEL).enumerate() {
        let mut fields = 0;
        for (field, codes) in codes[vector..].iter().step_by(WIDTH).enumerate() {
            // The four codes of a group at once: no bit leaves its byte but those that the mask takes off.
            fields |= ((u32::from_le_bytes(*codes) >> below) & mask) << (field * WIDTH);
        }
        bytes[GROUP * lane..][..GROUP].copy_from_slice(&fields.to_le_bytes());
    }
}

/// The widths of the planes that make up codes of so many bits, the lowest bits first.
pub(crate) fn plane_widths(bits: usize) -> impl Iterator<Item = usize> {
    [8, 4, 2, 1].into_iter().filter(move |width| bits & width != 0)
}
