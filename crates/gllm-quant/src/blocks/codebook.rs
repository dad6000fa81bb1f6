//! What the types of codebooks have in common: eight elements at a time, with a scale and signs.

/// Writes `scale` times eight codes of 2 bits, which stand for 8, 25 and 43, with their signs.
pub(super) fn eight(out: &mut [f32], scale: f32, row: u16, signs: u8) {
    const VALUES: [f32; 4] = [8.0, 25.0, 43.0, 0.0];
    write(out, scale, |at| VALUES[usize::from(row >> (2 * at) & 3)], signs);
}

/// Writes `scale` times twice four codes of 4 bits, which stand for what `values` says, with their signs.
pub(super) fn twice_four(out: &mut [f32], scale: f32, rows: [u16; 2], values: [f32; 8], signs: u8) {
    write(out, scale, |at| values[usize::from(rows[at / 4] >> (at % 4 * 4) & 7)], signs);
}

fn write(out: &mut [f32], scale: f32, value: impl Fn(usize) -> f32, signs: u8) {
    for (at, out) in out.iter_mut().enumerate() {
        let value = scale * value(at);
        *out = if signs >> at & 1 == 0 { value } else { -value };
    }
}

/// Writes `scale` times eight codes of 2 bits, which stand for -1, 0 and 1, shifted by an eighth: down if `down`.
pub(super) fn eight_ternary(out: &mut [f32], scale: f32, row: u16, down: bool) {
    let shift = if down { -0.125 } else { 0.125 };
    for (at, out) in out.iter_mut().enumerate() {
        *out = scale * (f32::from(row >> (2 * at) & 3) - 1.0 + shift);
    }
}

/// The eight signs that 7 bits stand for: their number is even.
pub(super) fn even_signs(bits: u32) -> u8 {
    let bits = (bits & 127) as u8;
    bits | (bits.count_ones() as u8) << 7
}
