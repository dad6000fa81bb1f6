//! Codes of few bits in bytes, as ggml lays them out.
//!
//! Bytes come in groups of `STRIDE`, and a group holds `8 / BITS` planes: plane `p` is the bits from `p · BITS` on, of
//! each of its bytes, and holds the codes that follow those of plane `p - 1`.

/// Sets `codes` to what `bytes` hold.
pub(super) fn unpack<const BITS: usize, const STRIDE: usize>(bytes: &[u8], codes: &mut [u8]) {
    codes.fill(0);
    unpack_high::<BITS, STRIDE>(bytes, codes, 0);
}

/// Adds what `bytes` hold to `codes`, as their bits from `from` on.
pub(super) fn unpack_high<const BITS: usize, const STRIDE: usize>(bytes: &[u8], codes: &mut [u8], from: usize) {
    for (bytes, codes) in bytes.as_chunks::<STRIDE>().0.iter().zip(codes.chunks_exact_mut(STRIDE * 8 / BITS)) {
        for (plane, codes) in codes.as_chunks_mut::<STRIDE>().0.iter_mut().enumerate() {
            for (code, byte) in codes.iter_mut().zip(bytes) {
                *code |= (byte >> (plane * BITS) & mask(BITS)) << from;
            }
        }
    }
}

/// The bytes that hold `BITS` bits of each of `codes`, from `from` on.
pub(super) fn pack<const BITS: usize, const STRIDE: usize, const BYTES: usize>(
    codes: &[u8],
    from: usize,
) -> [u8; BYTES] {
    let mut packed = [0; BYTES];
    let groups = packed.as_chunks_mut::<STRIDE>().0.iter_mut().zip(codes.chunks_exact(STRIDE * 8 / BITS));
    for (bytes, codes) in groups {
        for (plane, codes) in codes.as_chunks::<STRIDE>().0.iter().enumerate() {
            for (byte, code) in bytes.iter_mut().zip(codes) {
                *byte |= (code >> from & mask(BITS)) << (plane * BITS);
            }
        }
    }
    packed
}

const fn mask(bits: usize) -> u8 {
    u8::MAX >> (8 - bits)
}
