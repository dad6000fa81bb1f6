//! A text as people see it, whatever is in it: in one line, or in its own.

/// The text in one line: what would break the line, or steer the terminal, is a space.
pub(crate) fn flat(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().map(|c| if c.is_control() { ' ' } else { c })
}

/// The text with its lines, but without what would steer the terminal: that is a space too.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
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
    fn texts_keep_their_lines_and_cannot_steer_the_terminal() {
        assert_eq!(harmless("é\t1\r\n\x1b[2J\u{9b}2\x07\n"), "é\t1 \n [2J 2 \n");
    }

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
