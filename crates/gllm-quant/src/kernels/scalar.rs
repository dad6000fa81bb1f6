//! The kernel in plain Rust: what the others are held against.

use half::f16;

use super::Body;
use crate::matmul::{BLOCK, Format, FormatKind, GROUP, Mins, PANEL, PART_BITS, Tile, for_each_format, plane_widths};

/// The body for a format.
pub(super) fn body(kind: FormatKind) -> Body {
    for_each_format!(kind, F => panel::<F>)
}

fn panel<F: crate::matmul::StaticFormat>(
    panel: &[u8],
    span_blocks: usize,
    tile: &Tile<'_>,
    products: &mut [[f32; PANEL]],
) {
    let format = F::FORMAT;
    let span_bytes = format.header_bytes() + span_blocks * format.block_bytes();
    for (span, bytes) in panel.chunks_exact(span_bytes).enumerate() {
        let (header, blocks) = bytes.split_at(format.header_bytes());
        let half = |index: usize| f16::from_le_bytes([header[2 * index], header[2 * index + 1]]).to_f32();
        for (index, bytes) in blocks.chunks_exact(format.block_bytes()).enumerate() {
            let block = span * span_blocks + index;
            let (subs, planes) = bytes.split_at(format.sub_bytes());
            for lane in 0..PANEL {
                let values = values(&format, planes, lane);
                let byte = |index: usize| subs[index * PANEL + lane];
                let own = |index: usize| f32::from(byte(index).cast_signed());
                let scale = |sub| match format.mins {
                    Mins::BesideScale => half(lane) * f32::from(byte(sub) & 15),
                    _ if format.has_sub_scales => half(lane) * own(sub),
                    _ => half(lane),
                };
                let min = |sub| match format.mins {
                    Mins::None => 0.0,
                    Mins::Span => half(PANEL + lane),
                    Mins::Sub if format.has_sub_scales => half(PANEL + lane) * own(format.subs + sub),
                    Mins::Sub => half(PANEL + lane) * own(sub),
                    Mins::BesideScale => half(PANEL + lane) * f32::from(byte(sub) >> 4),
                };
                for (row, products) in products.iter_mut().enumerate() {
                    let place = block * tile.rows + row;
                    let parts = tile.codes[place * BLOCK * format.parts..].chunks_exact(BLOCK).take(format.parts);
                    let mut product = 0.0;
                    for sub in 0..format.subs {
                        let inputs = sub * BLOCK / format.subs..(sub + 1) * BLOCK / format.subs;
                        let mut dot = tile.starts[place * format.subs + sub];
                        for (part, codes) in parts.clone().enumerate() {
                            if part > 0 {
                                dot <<= PART_BITS;
                            }
                            dot += inputs.clone().map(|i| i32::from(values[i]) * i32::from(codes[i])).sum::<i32>();
                        }
                        product = match sub {
                            0 => dot as f32 * scale(0),
                            _ => (dot as f32).mul_add(scale(sub), product),
                        };
                    }
                    if format.mins != Mins::None {
                        for sub in 0..format.subs {
                            product = (-min(sub)).mul_add(tile.sums[place * format.subs + sub], product);
                        }
                    }
                    products[lane] = product.mul_add(tile.scales[place], products[lane]);
                }
            }
        }
    }
}

/// The values of an output in a block.
fn values(format: &Format, planes: &[u8], lane: usize) -> [u8; BLOCK] {
    let mut codes = [0; BLOCK];
    let (mut below, mut planes) = (0, planes);
    for width in plane_widths(format.bits) {
        let (plane, rest) = planes.split_at(64 * width);
        for (input, code) in codes.iter_mut().enumerate() {
            let (group, byte) = (input / GROUP, input % GROUP);
            let bits = plane[64 * (group % width) + GROUP * lane + byte] >> (group / width * width);
            *code |= (bits & (0xff >> (8 - width))) << below;
        }
        below += width;
        planes = rest;
    }
    codes.map(|code| format.value(code))
}
