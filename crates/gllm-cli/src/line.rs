//! A text in one line, whatever is in it.

/// The text in one line: what would break the line, or steer the terminal, is a space.
pub(crate) fn flat(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().map(|c| if c.is_control() { ' ' } else { c })
}

/// The text in one line of at most this many characters.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    let line: String = flat(text).take(limit + 1).collect();
    match line.char_indices().nth(limit.saturating_sub(1)) {
        Some((end, _)) if line.chars().count() > limit => format!("{}…", &line[..end]),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shortened_at_characters_and_lines_are_joined() {
        assert_eq!(shortened("a\nb", 40), "a b");
        assert_eq!(flat("a\r\n\x1b[1mb\tc").collect::<String>(), "a   [1mb c");
        let exact = "é".repeat(40);
        assert_eq!(shortened(&exact, 40), exact);
        let long = shortened(&"é".repeat(41), 40);
        assert_eq!((long.chars().count(), long.ends_with('…')), (40, true));
        assert_eq!(shortened("ab", 1), "…");
    }
}
