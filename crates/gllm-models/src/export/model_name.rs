//! What the name of a model says: organisation, family, version, size and what it was tuned for.
//!
//! Names of models follow habits, not rules, so this is guesswork. Source: `get_model_id_components` of llama.cpp's
//! `gguf-py`, whose guesses these are, so that files of gllm and of llama.cpp are called the same.

/// A name, taken apart; such as `org/Qwen2.5-Coder-0.5B-Instruct`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ModelName {
    /// Without the organisation.
    pub(super) name: String,
    pub(super) organization: Option<String>,
    /// `Qwen2.5-Coder`.
    pub(super) basename: Option<String>,
    /// `Instruct`.
    pub(super) finetune: Option<String>,
    pub(super) version: Option<String>,
    /// `0.5B`.
    pub(super) size_label: Option<String>,
}

/// What a part of a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Version,
    /// A type of weights.
    Type,
    Size,
    Tuning,
    Base,
}

struct Part {
    text: String,
    kinds: Vec<Kind>,
}

impl ModelName {
    /// Takes `id` apart; `parameters` of the model say whether a number in it can be its size.
    pub(super) fn parse(id: &str, parameters: usize) -> Self {
        if id.contains(' ') {
            return Self { name: id.to_owned(), ..Self::default() };
        }
        let (organization, name) = id.split_once('/').map_or((None, id), |(org, name)| (Some(org), name));
        let organization = organization.filter(|org| !org.starts_with('.')).map(str::to_owned);
        let parts = name.split('-').filter(|part| !part.is_empty()).enumerate();
        let mut parts: Vec<_> = parts.map(|(index, text)| Part::new(text, index == 0, parameters)).collect();

        // Where a size is a number, a word such as `mini` isn't one.
        if parts.iter().any(|part| part.is(Kind::Size) && part.text.contains(|c: char| c.is_ascii_digit())) {
            for part in parts.iter_mut().filter(|part| part.text.chars().all(char::is_alphabetic)) {
                part.kinds.retain(|kind| *kind != Kind::Size);
            }
        }
        // The base comes first, and may contain versions; what is behind it and isn't known is what the model is for.
        let mut at_start = true;
        for part in &mut parts {
            let begins = part.kinds.is_empty() && part.text.starts_with(char::is_alphabetic);
            if at_start && (begins || part.is(Kind::Version)) {
                part.kinds.push(Kind::Base);
                continue;
            }
            at_start = false;
            if part.kinds.is_empty() {
                part.kinds.push(Kind::Tuning);
            }
        }
        // A version at the end of all isn't of the base.
        for part in parts.iter_mut().rev().take_while(|part| part.is(Kind::Base) && part.kinds.len() > 1) {
            part.kinds.retain(|kind| *kind != Kind::Base);
        }
        let joined = |is: &dyn Fn(&Part) -> bool| {
            let texts: Vec<_> = parts.iter().filter(|part| is(part)).map(|part| part.text.as_str()).collect();
            (!texts.is_empty()).then(|| texts.join("-"))
        };
        let size_label = joined(&|part| part.is(Kind::Size));
        let finetune = joined(&|part| part.is(Kind::Tuning));
        let version = joined(&|part| part.is(Kind::Version) && !part.is(Kind::Base));
        let says_more = size_label.is_some() || finetune.is_some() || version.is_some();
        let basename = joined(&|part| part.is(Kind::Base)).filter(|_| says_more);
        Self { name: name.to_owned(), organization, basename, finetune, version, size_label }
    }
}

impl Part {
    fn new(text: &str, is_first: bool, parameters: usize) -> Self {
        let lower = text.to_ascii_lowercase();
        let mut part = Self { text: text.to_owned(), kinds: Vec::new() };
        if is_version(&lower) {
            part.kinds.push(Kind::Version);
        } else if is_type(&lower) {
            part.kinds.push(Kind::Type);
            part.text = text.to_uppercase();
        } else if !is_first && let Some(size) = Size::parse(&lower) {
            let (kind, text) = size.judge(text, parameters);
            part.kinds.push(kind);
            part.text = text;
        } else if !is_first && ["chat", "instruct", "vision", "lora"].contains(&lower.as_str()) {
            part.kinds.push(Kind::Tuning);
        }
        part
    }

    fn is(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

/// `v1.5`, `iter2`, `3`.
fn is_version(lower: &str) -> bool {
    let digits = lower.strip_prefix('v').or(lower.strip_prefix("iter")).unwrap_or(lower);
    digits.split('.').all(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// `q4_k_m`, `iq2_xs`, `fp16`, `bf16`.
fn is_type(lower: &str) -> bool {
    let is_float = ["f16", "f32", "fp16", "fp32", "bf16", "bf32", "bfp16", "bfp32"].contains(&lower);
    let quantised = lower.strip_prefix('i').unwrap_or(lower).strip_prefix('q');
    is_float
        || quantised.is_some_and(|rest| {
            let mut pieces = rest.split('_');
            let is_digit = |piece: &str| piece.len() == 1 && piece.bytes().all(|b| b.is_ascii_digit());
            pieces.next().is_some_and(is_digit) && pieces.all(|piece| piece.chars().count() == 1)
        })
}

/// A size in a name: `7b`, `8x7b`, `a3b`, `7b1`, `0.5B`, or a word.
enum Size {
    Word,
    /// In millions and the like, where it is a plain number.
    Number {
        value: Option<f64>,
        unit: char,
        digit: Option<char>,
    },
}

impl Size {
    fn parse(lower: &str) -> Option<Self> {
        if ["small", "mini", "medium", "large", "xl", "xxl"].contains(&lower) {
            return Some(Self::Word);
        }
        let digit = lower.chars().last().filter(char::is_ascii_digit);
        let rest = &lower[..lower.len() - digit.map_or(0, char::len_utf8)];
        let unit = rest.chars().last().filter(|unit| "kmbt".contains(*unit))?;
        let rest = &rest[..rest.len() - 1];
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let many = rest.split_once('x').filter(|(count, _)| is_number(count)).map(|(_, each)| each);
        let number = many.or(rest.strip_prefix('a')).unwrap_or(rest);
        let mut pieces = number.splitn(2, ['.', '_']);
        let is_whole = pieces.next().is_some_and(is_number) && pieces.next().is_none_or(is_number);
        let value = if number == rest { rest.replace('_', ".").parse().ok() } else { None };
        is_whole.then_some(Self::Number { value, unit, digit })
    }

    /// What a part with this size is, and how it is written.
    fn judge(&self, text: &str, parameters: usize) -> (Kind, String) {
        let Self::Number { value, unit, digit } = *self else { return (Kind::Size, text.to_owned()) };
        let text = text.replace('_', ".");
        let number = &text[..text.len() - 1 - digit.map_or(0, char::len_utf8)];
        let number = digit.map_or_else(|| number.to_owned(), |digit| format!("{number}.{digit}"));
        let value = digit.map_or(value, |_| number.parse().ok());
        let thousands = " kmbt".find(unit).unwrap_or_default() as i32;
        let stated = value.map(|value| value * 1000f64.powi(thousands));
        let is_near = |stated: f64| (stated - parameters as f64).abs() <= (7 * parameters / 8) as f64;
        if parameters > 0 && stated.is_some_and(|stated| !is_near(stated)) {
            // Most likely the length of a context.
            return (Kind::Tuning, format!("{number}{unit}"));
        }
        (Kind::Size, format!("{number}{}", unit.to_ascii_uppercase()))
    }
}

/// How many weights a model has, in two digits: `23M`, `0.5B`.
pub(super) fn size_label(parameters: usize) -> String {
    let parameters = parameters as f64;
    let units = [(1e12, "T"), (1e9, "B"), (1e6, "M")];
    let (scale, unit) = units.into_iter().find(|(scale, _)| parameters > *scale).unwrap_or((1e3, "K"));
    let scaled = parameters / scale;
    let whole = format!("{:.0}", scaled.round_ties_even());
    let digits = whole.trim_start_matches('0').len();
    format!("{scaled:.*}{unit}", 2usize.saturating_sub(digits))
}

/// A name in title case: words in small letters get a capital, versions don't.
pub(super) fn title(name: &str) -> String {
    let word = |word: &str| {
        let is_lower = word.chars().any(char::is_lowercase) && !word.chars().any(char::is_uppercase);
        let is_version = word.starts_with(|c: char| c.is_ascii_digit())
            || (word.starts_with('v') && word.len() > 1 && self::is_version(word));
        if is_lower && !is_version { capitals(word) } else { word.to_owned() }
    };
    name.trim().replace('-', " ").split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// A capital at the start of each run of letters.
fn capitals(word: &str) -> String {
    let mut before = ' ';
    let mut capital = |letter: char| {
        let starts = !before.is_alphabetic();
        before = letter;
        if starts { letter.to_uppercase().to_string() } else { letter.to_string() }
    };
    word.chars().map(&mut capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are those of `gguf.Metadata`.
    #[test]
    fn names_are_taken_apart() {
        let parts = |id: &str, parameters: usize| {
            let ModelName { name, organization, basename, finetune, version, size_label } =
                ModelName::parse(id, parameters);
            let none = || "-".to_owned();
            let optional =
                [organization, basename, finetune, version, size_label].map(|part| part.unwrap_or_else(none));
            format!("{name} {}", optional.join(" "))
        };
        for (id, parameters, expected) in NAMES {
            assert_eq!(parts(id, parameters), expected, "{id}");
        }
    }

    /// A name, how many weights the model has, and its parts; a dash for one that isn't there.
    const NAMES: [(&str, usize, &str); 14] = [
        ("all-MiniLM-L6-v2", 22_713_216, "all-MiniLM-L6-v2 - all-MiniLM-L6 - v2 -"),
        ("nreimers/MiniLM-L6-H384-uncased", 22_713_216, "MiniLM-L6-H384-uncased nreimers - - - -"),
        ("BAAI/bge-small-en-v1.5", 33_360_000, "bge-small-en-v1.5 BAAI bge en v1.5 small"),
        ("bge-m3", 567_754_752, "bge-m3 - - - - -"),
        ("nomic-ai/nomic-embed-text-v1.5", 136_731_648, "nomic-embed-text-v1.5 nomic-ai nomic-embed-text - v1.5 -"),
        ("Qwen/Qwen2.5-Coder-0.5B", 494_032_768, "Qwen2.5-Coder-0.5B Qwen Qwen2.5-Coder - - 0.5B"),
        ("mistralai/Mixtral-8x7B-v0.1", 46_702_792_704, "Mixtral-8x7B-v0.1 mistralai Mixtral - v0.1 8x7B"),
        ("bigscience/bloom-7b1-petals", 7_069_016_064, "bloom-7b1-petals bigscience bloom petals - 7.1B"),
        ("Phi-3-mini-4k-instruct", 3_821_079_552, "Phi-3-mini-4k-instruct - Phi-3 4k-instruct - mini"),
        ("Qwen3-30B-A3B-Q4_K_M", 30_532_122_624, "Qwen3-30B-A3B-Q4_K_M - Qwen3 - - 30B-A3B"),
        ("sentence-transformers", 5, "sentence-transformers - - - - -"),
        ("model-small", 5, "model-small - model - - small"),
        ("./x", 3, "x - - - - -"),
        ("a model", 7, "a model - - - - -"),
    ];

    #[test]
    fn sizes_have_two_digits() {
        for (parameters, expected) in [
            (22_713_216, "23M"),
            (494_032_768, "494M"),
            (7_241_732_096, "7.2B"),
            (53_280, "53K"),
            (999, "1.0K"),
            (120, "0.12K"),
        ] {
            assert_eq!(size_label(parameters), expected);
        }
    }

    #[test]
    fn titles_have_capitals() {
        for (name, expected) in [
            ("nreimers", "Nreimers"),
            ("MiniLM-L6-H384-uncased", "MiniLM L6 H384 Uncased"),
            ("bge-small-en-v1.5", "Bge Small En v1.5"),
            ("stackexchange_xml", "Stackexchange_Xml"),
            ("flickr30k-captions", "Flickr30K Captions"),
            ("7b-chat", "7b Chat"),
        ] {
            assert_eq!(title(name), expected);
        }
    }
}
