//! Codes of few bits in bytes, as ggml lays them out.
//!
//! Bytes come in groups of `STRIDE`, and a group holds `8 / BITS` planes: plane `p` is the bits from `p · BITS` on, of
//! each of its bytes, and holds the codes that follow those of plane `p - 1`.

/// Sets `codes` to what `bytes` hold.
pub(super) fn unpack<const BITS: usize, const STRIDE: usize>(bytes: &[u8], codes: &mut [u8]) {
    each_plane::<BITS, STRIDE, _>(codes, bytes, |code, byte, shift| *code = byte >> shift & mask(BITS));
}

/// Adds what `bytes` hold to `codes`, as their bits from `from` on.
pub(super) fn unpack_high<const BITS: usize, const STRIDE: usize>(bytes: &[u8], codes: &mut [u8], from: usize) {
    each_plane::<BITS, STRIDE, _>(codes, bytes, |code, byte, shift| *code |= (byte >> shift & mask(BITS)) << from);
}

/// Calls `visit` with each code, the byte that it is in, and its place there.
fn each_plane<const BITS: usize, const STRIDE: usize, F>(codes: &mut [u8], bytes: &[u8], visit: F)
where
    F: Fn(&mut u8, u8, usize),
{
    let groups = codes.chunks_exact_mut(STRIDE * 8 / BITS);
    for (codes, bytes) in groups.zip(bytes.as_chunks::<STRIDE>().0) {
        for (plane, codes) in codes.as_chunks_mut::<STRIDE>().0.iter_mut().enumerate() {
            codes.iter_mut().zip(bytes).for_each(|(code, byte)| visit(code, *byte, plane * BITS));
        }
    }
}

const fn mask(bits: usize) -> u8 {
    u8::MAX >> (8 - bits)
}
