//! SentencePiece's table for normalising texts, checked before `tokenizers` walks it.
//!
//! Layout: the size of a double array in bytes, its 32-bit units, then the replacements, each ended by a zero byte. A
//! unit leads to a block of others, one for each byte that may follow, or has the place of a replacement. Source:
//! `Normalizer` of SentencePiece, `darts.h` of darts-clone. `tokenizers` takes each place as it finds it, so that each
//! must be within the table.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokenizers::NormalizerWrapper;
use tokenizers::normalizers::Precompiled;

const UNIT: usize = 4;

/// Set in a unit that has the place of a replacement.
const IS_VALUE: u32 = 1 << 31;

/// A table as `tokenizer.json` has it.
#[derive(Deserialize)]
struct Encoded {
    precompiled_charsmap: String,
}

/// What is wrong with the tables of a normalizer, if it has any.
pub(super) fn check(normalizer: &NormalizerWrapper) -> Result<(), String> {
    match normalizer {
        NormalizerWrapper::Sequence(parts) => parts.as_ref().iter().try_for_each(check),
        NormalizerWrapper::Precompiled(table) => {
            let encoded = serde_json::to_value(table).and_then(Encoded::deserialize).map_err(|e| e.to_string())?;
            let bytes = STANDARD.decode(encoded.precompiled_charsmap).map_err(|e| e.to_string())?;
            parse(&bytes).map(drop).map_err(|reason| format!("precompiled_charsmap has {reason}"))
        }
        _ => Ok(()),
    }
}

/// The table in `bytes`, or what is wrong with them.
pub(super) fn parse(bytes: &[u8]) -> Result<Precompiled, String> {
    let (size, rest) = bytes.split_first_chunk::<UNIT>().ok_or("fewer than 4 bytes")?;
    let size = u32::from_le_bytes(*size) as usize;
    let (units, replacements) = rest.split_at_checked(size).ok_or("a double array beyond its end")?;
    let units = match units.as_chunks::<UNIT>() {
        (units, []) if !units.is_empty() => units,
        _ => return Err(format!("a double array of {size} bytes")),
    };
    let units: Vec<u32> = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    let replacements = str::from_utf8(replacements).map_err(|e| e.to_string())?;
    // The walk starts at the root without asking what kind of unit it is; no other value is walked through.
    for (place, &unit) in units.iter().enumerate().filter(|(place, unit)| *place == 0 || **unit & IS_VALUE == 0) {
        let block = place ^ offset(unit);
        if block | 0xff >= units.len() {
            return Err(format!("unit {place}, which leads out of the table"));
        }
        let has_value = unit >> 8 & 1 == 1;
        let replacement = (units[block] & !IS_VALUE) as usize;
        if has_value && !replacements.is_char_boundary(replacement) {
            return Err(format!("unit {place}, whose replacement is none"));
        }
    }
    Precompiled::from(bytes).map_err(|e| e.to_string())
}

/// From a unit's own place to the block of those that may follow, to be combined by exclusive or.
fn offset(unit: u32) -> usize {
    ((unit >> 10) as usize) << ((unit & 1 << 9) >> 6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokenizers::normalizers::{Lowercase, Sequence};
    use tokenizers::{NormalizedString, Normalizer};

    use super::*;

    /// `a` becomes `x`: from the root to the block at 256 whose unit for `a` leads to the value in the block at 512.
    fn table() -> Vec<u8> {
        let mut units = vec![0_u32; 768];
        units[0] = 256 << 10;
        units[256 ^ 0x61] = u32::from(b'a') | 1 << 8 | ((512 ^ 256 ^ 0x61) as u32) << 10;
        units[512] = IS_VALUE;
        bytes(&units, "x\0")
    }

    fn bytes(units: &[u32], replacements: &str) -> Vec<u8> {
        let size = (UNIT * units.len()) as u32;
        let units = std::iter::once(&size).chain(units).flat_map(|unit| unit.to_le_bytes());
        units.chain(replacements.bytes()).collect()
    }

    fn normalize(table: &Precompiled, text: &str) -> String {
        let mut text = NormalizedString::from(text);
        table.normalize(&mut text).expect("it never fails");
        text.get().to_owned()
    }

    #[test]
    fn a_table_replaces() {
        assert_eq!(normalize(&parse(&table()).expect("a table"), "banana"), "bxnxnx");
    }

    #[test]
    fn tables_that_lead_out_of_themselves_are_refused() {
        let whole = table();
        for (place, unit) in [
            (0, 1024 << 10),
            (0, 1024 << 10 | IS_VALUE),
            (256 ^ 0x61, u32::from(b'a') | 1 << 8 | 1 << 31 >> 1),
            (512, 9 | IS_VALUE),
        ] {
            let mut broken = whole.clone();
            broken[UNIT * (place + 1)..][..UNIT].copy_from_slice(&u32::to_le_bytes(unit));
            assert!(parse(&broken).is_err(), "{place}");
        }
        for broken in [&[][..], &whole[..3], &whole[..1000], &bytes(&[], "")] {
            assert!(parse(broken).is_err());
        }
    }

    #[test]
    fn tables_are_found_wherever_they_are_in_a_normalizer() {
        let mut broken = table();
        broken[UNIT + 3] = 0xff;
        let table = |bytes: &[u8]| NormalizerWrapper::from(Precompiled::from(bytes).expect("a table's form"));
        let within = |table| NormalizerWrapper::from(Sequence::new(vec![NormalizerWrapper::from(Lowercase), table]));
        assert_eq!(check(&within(table(&self::table()))), Ok(()));
        for normalizer in [table(&broken), within(table(&broken)), within(within(table(&broken)))] {
            assert_eq!(check(&normalizer), Err("precompiled_charsmap has unit 0, which leads out of the table".into()));
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_never_panics(place in 0usize..3078, byte: u8, text in "[a-c]{0,4}|\\PC{0,4}") {
            let mut bytes = table();
            bytes[place] = byte;
            if let Ok(table) = parse(&bytes) {
                normalize(&table, &text);
            }
        }
    }
}
