//! Strings that end a text, found in it while it is written, and never shown.
//!
//! A text ends where the first stop string is complete; of several that are complete there, the longest counts. What may
//! be the beginning of one is held back, and nothing else. The borders of the pieces that a text comes in don't matter.
//!
//! Source: D. E. Knuth, J. H. Morris and V. R. Pratt, "Fast Pattern Matching in Strings", 1977; one automaton for each
//! string.

use gllm_core::InvalidConfig;

/// What may be shown of a text, and whether it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstopped {
    /// What may be shown beside what was before.
    pub text: String,
    /// Whether a stop string came: the text has ended.
    pub is_end: bool,
}

/// Stop strings, and how much of each the text so far ends with.
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    automata: Vec<Automaton>,
    /// What may be the beginning of a stop string.
    held: String,
}

#[derive(Clone, Debug)]
struct Automaton {
    string: Vec<u8>,
    /// `[string]`: of the part up to and with this byte, how long the longest beginning is that it also ends with.
    borders: Vec<usize>,
    /// How many bytes of the string the text ends with.
    matched: usize,
}

impl StopStrings {
    /// Looks for `strings`, of which there may be none.
    ///
    /// ```
    /// use gllm_models::text::StopStrings;
    /// let mut stops = StopStrings::new(["\n\n"])?;
    /// assert_eq!(stops.push("one\n").text, "one");
    /// assert_eq!(stops.push("two\n").text, "\ntwo");
    /// let last = stops.push("\nthree");
    /// assert!(last.is_end && last.text.is_empty());
    /// # Ok::<(), gllm_core::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidConfig`] if one is empty.
    pub fn new<T: Into<String>>(strings: impl IntoIterator<Item = T>) -> Result<Self, InvalidConfig> {
        let automaton = |string: T| match string.into() {
            string if string.is_empty() => Err(InvalidConfig::new("stop", "strings that aren't empty", "\"\"")),
            string => Ok(Automaton::new(string.into_bytes())),
        };
        Ok(Self { automata: strings.into_iter().map(automaton).collect::<Result<_, _>>()?, held: String::new() })
    }

    /// Adds a piece of text. Behind the end there is none.
    pub fn push(&mut self, piece: &str) -> Unstopped {
        let before = self.held.len();
        self.held.push_str(piece);
        for place in before..self.held.len() {
            let byte = self.held.as_bytes()[place];
            let complete = self.automata.iter_mut().filter_map(|automaton| automaton.step(byte)).max();
            if let Some(length) = complete {
                // All of it was held back, as the beginning that it was until now.
                self.held.truncate(place + 1 - length);
                return Unstopped { text: self.finish(), is_end: true };
            }
        }
        let held = self.automata.iter().map(|automaton| automaton.matched).max().unwrap_or_default();
        let rest = self.held.split_off(self.held.len() - held);
        Unstopped { text: std::mem::replace(&mut self.held, rest), is_end: false }
    }

    /// What was held back, when the text ends without a stop string.
    pub fn finish(&mut self) -> String {
        self.automata.iter_mut().for_each(|automaton| automaton.matched = 0);
        std::mem::take(&mut self.held)
    }
}

impl Automaton {
    fn new(string: Vec<u8>) -> Self {
        let mut automaton = Self { borders: vec![0; string.len()], string, matched: 0 };
        // The string, from its second byte on, is read as a text.
        for place in 1..automaton.string.len() {
            automaton.matched = automaton.next(automaton.string[place]);
            automaton.borders[place] = automaton.matched;
        }
        automaton.matched = 0;
        automaton
    }

    /// Reads a byte of the text; the string's length, if it is complete with it.
    fn step(&mut self, byte: u8) -> Option<usize> {
        self.matched = self.next(byte);
        (self.matched == self.string.len()).then_some(self.matched)
    }

    /// How many bytes of the string the text ends with, once `byte` is added.
    fn next(&self, byte: u8) -> usize {
        let mut matched = self.matched;
        while matched > 0 && (matched == self.string.len() || self.string[matched] != byte) {
            matched = self.borders[matched - 1];
        }
        if self.string[matched] == byte { matched + 1 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text up to the stop string that is complete first, the longest of them; or all of it.
    fn naive(text: &str, stops: &[String]) -> (String, bool) {
        for end in text.char_indices().map(|(at, c)| at + c.len_utf8()) {
            let so_far = &text[..end];
            if let Some(stop) = stops.iter().filter(|stop| so_far.ends_with(stop.as_str())).max_by_key(|s| s.len()) {
                return (so_far[..end - stop.len()].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    #[test]
    fn across_pieces_and_never_shown() {
        let mut stops = StopStrings::new(["</answer>", "<|"]).expect("strings");
        let shown: Vec<Unstopped> = ["a <b> ", "c <", "/ans", "wer", "> d"].map(|piece| stops.push(piece)).to_vec();
        let texts: Vec<&str> = shown.iter().map(|unstopped| unstopped.text.as_str()).collect();
        assert_eq!(texts, ["a <b> ", "c ", "", "", ""]);
        assert!(shown[4].is_end && shown[..4].iter().all(|unstopped| !unstopped.is_end));
        assert_eq!(stops.finish(), "");
    }

    #[test]
    fn the_first_that_is_complete_counts() {
        let push = |stops: [&str; 2], text: &str| StopStrings::new(stops).expect("strings").push(text);
        assert_eq!(push(["abcd", "bc"], "xabcd"), Unstopped { text: "xa".into(), is_end: true });
        assert_eq!(push(["bc", "abc"], "xabcd"), Unstopped { text: "x".into(), is_end: true });
    }

    #[test]
    fn what_was_held_back_comes_at_the_end() {
        let mut stops = StopStrings::new(["日本語"]).expect("strings");
        assert_eq!(stops.push("a日本"), Unstopped { text: "a".into(), is_end: false });
        assert_eq!(stops.finish(), "日本");
        assert_eq!(stops.push("語"), Unstopped { text: "語".into(), is_end: false });
    }

    #[test]
    fn an_empty_string_is_refused_and_none_is_fine() {
        assert_eq!(StopStrings::new(["a", ""]).expect_err("empty").field, "stop");
        let mut none = StopStrings::new([""; 0]).expect("none");
        assert_eq!(none.push("a"), Unstopped { text: "a".into(), is_end: false });
    }

    proptest! {
        #[test]
        fn as_the_naive_search_says(
            pieces in prop::collection::vec("[abé日]{0,4}", 0..12),
            stops in prop::collection::vec("[abé日]{1,5}", 0..4),
        ) {
            let text = pieces.concat();
            let (expected, is_end) = naive(&text, &stops);
            let mut found = String::new();
            let mut has_ended = false;
            let mut state = StopStrings::new(stops.clone()).expect("strings");
            let mut read = String::new();
            for piece in &pieces {
                let unstopped = state.push(piece);
                found.push_str(&unstopped.text);
                read.push_str(piece);
                if unstopped.is_end {
                    has_ended = true;
                    break;
                }
                // Held back is the longest ending that a stop string begins with.
                let may_begin = |at: &usize| stops.iter().any(|stop| stop.starts_with(&read[*at..]));
                let held = read.char_indices().map(|(at, _)| at).find(may_begin).unwrap_or(read.len());
                prop_assert_eq!(&found, &read[..held]);
            }
            if !has_ended {
                found.push_str(&state.finish());
            }
            prop_assert_eq!((found, has_ended), (expected, is_end));
        }
    }
}
