//! A prompt: an argument, or all of a file or of standard input.

use std::io::Read;
use std::iter;
use std::path::Path;

use crate::exit::Failure;
use crate::lines::{BYTE_ORDER_MARK, TEXT_BYTES};
use crate::read_ahead::ReadAhead;
use crate::source::Source;

/// What is said where there is no prompt.
const MISSING: &str = "no prompt: give it with --prompt, name a file with --input, or pipe it in";

/// The prompt that was given, else what is in the file, else in standard input.
pub(crate) fn read(given: Option<String>, file: Option<&Path>) -> Result<String, Failure> {
    let source = match (given, file) {
        (Some(prompt), _) if prompt != "-" => return Ok(prompt),
        (Some(_), _) => Source::stdin(),
        (None, Some(file)) => Source::open(file)?,
        (None, None) => Source::piped(MISSING)?,
    };
    let text = ReadAhead::start(iter::once_with(|| whole(source))).next()?;
    Ok(text.unwrap_or_default())
}

/// All of it, but for a byte order mark and the last line's end, which tools add and nobody means.
fn whole(source: Source) -> Result<String, Failure> {
    let Source { name, bytes: source, .. } = source;
    let mut bytes = Vec::new();
    let read = source.take(TEXT_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Failed(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > TEXT_BYTES {
        return Err(Failure::Failed(format!("{name} is longer than {} MiB", TEXT_BYTES >> 20)));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to() + 1;
        Failure::Failed(format!("{name} is not valid UTF-8 at byte {place}"))
    })?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: impl Read + Send + 'static) -> Result<String, Failure> {
        whole(Source { name: "`x`".into(), bytes: Box::new(bytes), total_bytes: None })
    }

    #[test]
    fn one_line_end_and_a_byte_order_mark_are_dropped() {
        for (bytes, expected) in
            [(&b""[..], ""), (b"a\n", "a"), (b"a\r\n", "a"), (b"\xef\xbb\xbfa\nb\n\n", "a\nb\n"), (b" a\r", " a\r")]
        {
            assert_eq!(read_bytes(bytes).expect("a text"), expected);
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let message = |read: Result<String, Failure>| match read {
            Err(Failure::Failed(message)) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(message(read_bytes(&b"ab\xff"[..])), "`x` is not valid UTF-8 at byte 3");
        assert_eq!(message(read_bytes(std::io::repeat(b'x'))), "`x` is longer than 64 MiB");
    }
}
