//! Headers that aren't so: each is an error that says what is wrong with it.

use gllm_quant::DType;

use crate::builder::{ARRAY, F32, STRING, U32, array, entry, file, file_with, info, is_refused, open, string};

/// A file with one tensor of `f32`.
fn one(dims: &[u64], offset: u64, data: usize) -> Vec<u8> {
    file(&[], &[info("t", dims, F32, offset)], data)
}

#[test]
fn what_the_builder_makes_is_valid() {
    for version in [2, 3] {
        let key = entry("a", U32, &7_u32.to_le_bytes());
        let bytes = file_with(version, 1, 1, &[key], &[info("t", &[3, 2], F32, 0)], 24);
        let files = open(&bytes).expect("valid");
        assert_eq!(files.metadata().expect("GGUF").u32("a").expect("a number"), Some(7));
        let (tensor, _) = files.get("t").expect("there");
        assert_eq!((tensor.shape, tensor.dtype, tensor.bytes.len()), (vec![2, 3], DType::F32, 24));
    }
}

#[test]
fn other_versions_are_refused_by_name() {
    for version in [0, 1, 4, 1000, u32::MAX] {
        is_refused(&file_with(version, 0, 0, &[], &[], 0), &format!("version of GGUF `{version}`"));
    }
    is_refused(&file_with(1_u32.swap_bytes(), 0, 0, &[], &[], 0), "version of GGUF `1`");
}

#[test]
fn a_file_that_ends_after_its_magic_is_refused() {
    for length in 4..8 {
        is_refused(&file(&[], &[], 0)[..length], "ends within its version");
    }
    is_refused(&file(&[], &[], 0)[..20], "within the number of metadata keys at byte 16: 4 bytes are missing");
}

#[test]
fn counts_that_the_file_cannot_hold_are_refused() {
    for count in [1, 1 << 20, 1 << 40, u64::MAX / 13 + 1, u64::MAX] {
        is_refused(&file_with(3, count, 0, &[], &[], 0), &format!("announces {count} tensors"));
        is_refused(&file_with(3, 0, count, &[], &[], 0), &format!("announces {count} metadata keys"));
    }
}

#[test]
fn strings_that_the_file_cannot_hold_are_refused() {
    for length in [9, 1 << 40, u64::MAX] {
        let bytes = file_with(3, 0, 1, &[entry("key", STRING, &length.to_le_bytes())], &[], 8);
        is_refused(&bytes, &format!("announces {length} bytes of the value of `key`"));
    }
    let mut key = entry("key", STRING, &string("value"));
    key[..8].copy_from_slice(&(1_u64 << 33).to_le_bytes());
    is_refused(&file(&[key], &[], 0), "bytes of metadata key 0");
    let mut tensor = info("t", &[1], F32, 0);
    tensor[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    is_refused(&file(&[], &[tensor], 4), "bytes of tensor 0");
}

#[test]
fn arrays_that_the_file_cannot_hold_are_refused() {
    // The type, and the bytes of an element.
    for (of, size) in [(0, 1), (3, 2), (6, 4), (7, 1), (8, 8), (11, 8)] {
        for count in [16 / size + 1, 1 << 40, u64::MAX / 2, u64::MAX] {
            let bytes = file(&[array("key", of, count, &[0; 16])], &[], 0);
            is_refused(&bytes, &format!("announces {count} elements of the value of `key`"));
        }
    }
}

#[test]
fn nested_arrays_are_refused() {
    is_refused(&file(&[array("key", ARRAY, 1, &[0; 64])], &[], 0), "an array of arrays");
}

#[test]
fn types_that_nobody_knows_are_refused() {
    for of in [13, 1000, u32::MAX] {
        is_refused(&file(&[entry("key", of, &[0; 8])], &[], 0), &format!("the value of `key` has type {of}"));
        is_refused(&file(&[array("key", of, 1, &[0; 8])], &[], 0), &format!("the value of `key` has type {of}"));
    }
    for of in [4, 5, 31, 36, 40, 1000, u32::MAX] {
        let bytes = file(&[], &[info("t", &[1], of, 0)], 4);
        is_refused(&bytes, &format!("tensor `t` of type `{of}"));
    }
}

#[test]
fn strings_must_be_utf_8() {
    let bad = [&2_u64.to_le_bytes()[..], b"\xff\xfe"].concat();
    is_refused(&file(&[entry("key", STRING, &bad)], &[], 0), "the value of `key` at byte 47 isn't valid UTF-8");
    is_refused(&file(&[array("key", STRING, 1, &bad)], &[], 0), "isn't valid UTF-8");
    let mut tensor = info("t", &[1], F32, 0);
    tensor[8] = 0xff;
    is_refused(&file(&[], &[tensor], 4), "tensor 0 at byte 32 isn't valid UTF-8");
    let mut key = entry("k", U32, &[0; 4]);
    key[8] = 0xff;
    is_refused(&file(&[key], &[], 0), "metadata key 0 at byte 32 isn't valid UTF-8");
}

#[test]
fn bools_are_0_or_1() {
    for byte in [2, 0xff] {
        let with = format!("is a bool, and {byte} is neither 0 nor 1");
        is_refused(&file(&[entry("key", 7, &[byte])], &[], 0), &with);
        is_refused(&file(&[array("key", 7, 3, &[0, 1, byte])], &[], 0), &with);
    }
}

#[test]
fn the_alignment_is_a_power_of_two_of_32_bits() {
    for value in [0_u32, 3, 48, u32::MAX] {
        let bytes = file(&[entry("general.alignment", U32, &value.to_le_bytes())], &[info("t", &[1], F32, 0)], 64);
        is_refused(
            &bytes,
            &format!("field `general.alignment`: expected a UINT32 that is a power of two, found {value}"),
        );
    }
    for (of, content) in [(10, &64_u64.to_le_bytes()[..]), (5, &64_i32.to_le_bytes()), (STRING, &string("64"))] {
        is_refused(&file(&[entry("general.alignment", of, content)], &[], 0), "field `general.alignment`");
    }
    let far = file(&[entry("general.alignment", U32, &(1_u32 << 31).to_le_bytes())], &[info("t", &[1], F32, 0)], 64);
    is_refused(&far, "bytes are missing");
}

#[test]
fn keys_and_tensors_have_names_of_their_own() {
    let key = || entry("key", U32, &[0; 4]);
    is_refused(&file(&[key(), entry("other", U32, &[0; 4]), key()], &[], 0), "metadata key `key` is there twice");
    let infos = [info("t", &[1], F32, 0), info("u", &[1], F32, 32), info("t", &[1], F32, 64)];
    is_refused(&file(&[], &infos, 96), "tensor `t` is there twice");
}

#[test]
fn tensors_have_one_to_four_dimensions() {
    is_refused(&one(&[], 0, 4), "tensor `t` has 0 dimensions");
    open(&one(&[1, 1, 1, 1], 0, 4)).expect("valid");
    is_refused(&one(&[1, 1, 1, 1, 1], 0, 4), "tensor `t` has 5 dimensions");
    let mut many = info("t", &[1], F32, 0);
    many[9..13].copy_from_slice(&u32::MAX.to_le_bytes());
    is_refused(&file(&[], &[many], 4), "tensor `t` has 4294967295 dimensions");
}

#[test]
fn dimensions_are_not_zero() {
    for dims in [&[0][..], &[0, 4], &[4, 0], &[u64::MAX, 0]] {
        is_refused(&one(dims, 0, 4), "nothing is in it");
    }
    // No blocks at all.
    is_refused(&file(&[], &[info("t", &[0, 2], 12, 0)], 144), "nothing is in it");
}

#[test]
fn products_of_dimensions_are_checked() {
    let large = 1 << 32;
    for dims in [&[large, large][..], &[large, large, 4], &[u64::MAX], &[1 << 62], &[1 << 61, 8], &[large, 1 << 30]] {
        is_refused(&one(dims, 0, 64), "more than any file holds");
    }
    // In elements it is 0 modulo 2^64, in bytes too.
    is_refused(&file(&[], &[info("t", &[1 << 32, 1 << 32, 1, 1], 12, 0)], 64), "more than any file holds");
}

#[test]
fn rows_are_whole_blocks() {
    is_refused(&file(&[], &[info("t", &[255], 12, 0)], 144), "rows of 255 elements, no whole blocks of Q4_K");
    // As many elements as a block, but in two rows.
    is_refused(&file(&[], &[info("t", &[128, 2], 12, 0)], 144), "rows of 128 elements, no whole blocks of Q4_K");
    open(&file(&[], &[info("t", &[256, 2], 12, 0)], 288)).expect("valid");
}

#[test]
fn a_tensor_past_the_end_says_how_many_bytes_are_missing() {
    is_refused(&one(&[4], 0, 10), "tensor `t` ends at byte 80, the file at byte 74: 6 bytes are missing");
    is_refused(&one(&[1], 64, 64), "4 bytes are missing");
    is_refused(&one(&[1 << 50], 0, 64), "bytes are missing");
    let infos = [info("a", &[8], F32, 0), info("b", &[8], F32, 32)];
    is_refused(&file(&[], &infos, 0), "tensor `b` ends at byte 160, the file at byte 96: 64 bytes are missing");
}

#[test]
fn offsets_that_wrap_are_refused() {
    is_refused(&one(&[8], u64::MAX - 31, 64), "too far away");
    is_refused(&one(&[8], (1 << 63) - 32, 64), "missing");
    // With the size it fits in 64 bits, with the start of the data it doesn't.
    is_refused(&one(&[1], u64::MAX - 31, 64), "too far away");
}

#[test]
fn offsets_are_aligned() {
    for offset in [1, 4, 16, 33] {
        is_refused(&one(&[1], offset, 64), &format!("tensor `t` is at offset {offset}, no multiple of 32"));
    }
    let key = entry("general.alignment", U32, &8_u32.to_le_bytes());
    open(&file(&[key], &[info("t", &[1], F32, 16)], 64)).expect("a multiple of 8");
}

#[test]
fn tensors_do_not_overlap() {
    let overlap = |first: u64, second: u64| {
        let infos = [info("a", &[16], F32, first), info("b", &[16], F32, second)];
        is_refused(&file(&[], &infos, 256), "overlap");
    };
    overlap(0, 0);
    overlap(0, 32);
    overlap(64, 32);
    let contained = [info("a", &[64], F32, 0), info("b", &[8], F32, 32)];
    is_refused(&file(&[], &contained, 256), "tensors `a` and `b` overlap");
    let apart = [info("a", &[16], F32, 64), info("b", &[16], F32, 0)];
    open(&file(&[], &apart, 128)).expect("in another order");
}

#[test]
fn big_endian_blocks_are_refused_by_name() {
    let mut bytes = [b"GGUF", &3_u32.to_be_bytes()[..], &1_u64.to_be_bytes(), &0_u64.to_be_bytes()].concat();
    bytes.extend([&1_u64.to_be_bytes()[..], b"t", &1_u32.to_be_bytes(), &256_u64.to_be_bytes()].concat());
    bytes.extend([&12_u32.to_be_bytes()[..], &0_u64.to_be_bytes()].concat());
    bytes.resize(64 + 144, 0);
    is_refused(&bytes, "big-endian tensor `t` of type `Q4_K`");
}

#[test]
fn memory_is_bounded_by_the_size_of_the_file() {
    // A string takes 8 bytes in the file and three times as much in memory.
    let count = 2_000_000;
    let bytes = file(&[array("key", STRING, count, &vec![0; 8 * 2_000_000])], &[], 0);
    is_refused(&bytes, "more memory than a file of this size is worth");
    // With tensors behind it, the same is a vocabulary.
    open(&[bytes, vec![0; 8_000_000]].concat()).expect("valid");
}
