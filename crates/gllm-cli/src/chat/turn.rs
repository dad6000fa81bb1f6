//! What a person types in a conversation: a message, or a command.
//!
//! | typed | meaning |
//! |---|---|
//! | a line | a message |
//! | a line that ends in `\` | goes on in the next line |
//! | `"""` … `"""` | a message with all its lines, also one that begins with a slash |
//! | `/…` | a command |

/// Around a message of several lines.
const QUOTES: &str = "\"\"\"";

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A message.
    Message(String),
    /// `/clear`.
    Clear,
    /// `/system TEXT`; without the text, there is to be none.
    System(Option<String>),
    /// `/help`.
    Help,
    /// `/exit`.
    Exit,
    /// Another command, or one with what it doesn't take.
    Unknown(String),
}

/// Whether nothing of a turn is missing.
pub(super) fn is_whole(typed: &str) -> bool {
    match typed.trim_start().strip_prefix(QUOTES) {
        Some(block) => block.trim_end().ends_with(QUOTES),
        None => !typed.ends_with('\\'),
    }
}

impl Turn {
    /// Reads a turn; one that isn't whole is taken as it is. `None`, if nothing was typed but white space.
    pub(super) fn of(typed: &str) -> Option<Self> {
        let text = typed.trim();
        if let Some(block) = text.strip_prefix(QUOTES) {
            let block = block.strip_suffix(QUOTES).unwrap_or(block);
            let block = block.strip_prefix('\n').unwrap_or(block);
            return Self::message(block.strip_suffix('\n').unwrap_or(block));
        }
        let Some(command) = text.strip_prefix('/') else { return Self::message(&unfolded(text)) };
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        Some(match (name, unfolded(rest.trim())) {
            ("system", text) => Self::System(Some(text).filter(|text| !text.is_empty())),
            ("clear", rest) if rest.is_empty() => Self::Clear,
            ("help", rest) if rest.is_empty() => Self::Help,
            ("exit", rest) if rest.is_empty() => Self::Exit,
            _ => Self::Unknown(text.lines().next().unwrap_or_default().to_owned()),
        })
    }

    fn message(text: &str) -> Option<Self> {
        (!text.trim().is_empty()).then(|| Self::Message(text.to_owned()))
    }
}

/// The text without the backslashes at the ends of its lines.
fn unfolded(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(|line| line.strip_suffix('\\').unwrap_or(line)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_behind_backslashes_and_between_quotes() {
        for (typed, expected) in [
            ("", true),
            ("one", true),
            ("one\\", false),
            ("one\\\ntwo", true),
            ("\"\"\"", false),
            ("\"\"\"one", false),
            ("  \"\"\"one\ntwo\\\n", false),
            ("\"\"\"one\ntwo\"\"\"", true),
            ("\"\"\"one\"\"\" ", true),
            ("\"\"\"\"\"\"", true),
            ("one \"\"\"", true),
        ] {
            assert_eq!(is_whole(typed), expected, "{typed:?}");
        }
    }

    #[test]
    fn messages_have_their_lines() {
        let message = |text: &str| Some(Turn::Message(text.to_owned()));
        for (typed, expected) in [
            (" one ", message("one")),
            ("one\\\ntwo\nthree\\", message("one\ntwo\nthree")),
            ("\"\"\"one\"\"\"", message("one")),
            ("\"\"\"\n one\n\ntwo\n\"\"\"", message(" one\n\ntwo")),
            ("\"\"\"/usr/bin\\\n\"\"\"", message("/usr/bin\\")),
            ("\"\"\"one\n", message("one")),
            ("\"\"\"\n\"\"\"", None),
            (" \t", None),
            ("\\", None),
        ] {
            assert_eq!(Turn::of(typed), expected, "{typed:?}");
        }
    }

    #[test]
    fn commands_are_told_from_messages() {
        for (typed, expected) in [
            (" /clear ", Turn::Clear),
            ("/help", Turn::Help),
            ("/exit", Turn::Exit),
            ("/system Answer\\\n briefly. ", Turn::System(Some("Answer\n briefly.".into()))),
            ("/system", Turn::System(None)),
            ("/clear all", Turn::Unknown("/clear all".into())),
            ("/usr/bin is what?\nAnd", Turn::Unknown("/usr/bin is what?".into())),
            ("/", Turn::Unknown("/".into())),
        ] {
            assert_eq!(Turn::of(typed), Some(expected), "{typed:?}");
        }
    }
}
