//! How the families of byte-level BPE tokenizers split a text, by the names that `tokenizer.ggml.pre` gives them.
//!
//! Source: the `tokenizer.json` of each family's models, and for `default`, a name for what the converter of old didn't
//! know, what llama.cpp (<https://github.com/ggml-org/llama.cpp>) makes of it. In a split, what a pattern matches and
//! what lies between its matches are the parts that the next pattern splits.

use super::template::Added;

/// What tokenizers of a family have in common.
pub(super) struct Family {
    names: &'static [&'static str],
    /// Whether texts are brought into Unicode's composed form (NFC) first.
    pub(super) is_composed: bool,
    /// Regular expressions, each applied to what the one before left.
    pub(super) splits: &'static [&'static str],
    /// Whether a part that is a token is taken as it is, however merges would make it.
    pub(super) ignores_merges: bool,
    /// Which special tokens are added where a file doesn't say.
    pub(super) adds: Added,
}

const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

pub(crate) const LLAMA_3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
);

pub(crate) const QWEN_2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
);

const DEEPSEEK_WORDS: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// Of letters that have a case.
const DEEPSEEK_CASED: &str = concat!(
    r"\s?[",
    r"A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}",
    r"\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}",
    r"\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}",
    r"\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}",
    r"\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}",
    r"\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}",
    r"\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}",
    r"\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}",
    r"\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}",
    r"\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}",
    r"\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}",
    r"\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}",
    r"\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}",
    r"]+",
);

/// Han, and what the authors took for the rest of East Asia.
const DEEPSEEK_HAN: &str = r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+";

const DEEPSEEK_LLM: &[&str] = &[
    r"[\r\n]",
    DEEPSEEK_CASED,
    r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+",
    r"\s+$",
    DEEPSEEK_HAN,
    r"\p{N}+",
];

const DEEPSEEK_CODER: &[&str] = &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_HAN, r"\p{N}"];

const DEEPSEEK_V3: &[&str] =
    &[r"\p{N}{1,3}", r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+", DEEPSEEK_WORDS];

const UNNAMED: &[&str] = &[r"[\p{P}$+<=>^~|]+", GPT_2, r"\p{N}+", r"[0-9][0-9][0-9]"];

/// As GPT-2: nothing is added, and merges are what makes tokens.
const PLAIN: Family = Family {
    names: &["gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de"],
    is_composed: false,
    splits: &[GPT_2],
    ignores_merges: false,
    adds: Added { bos: false, eos: false, sep: false },
};

const FAMILIES: [Family; 11] = [
    PLAIN,
    Family { names: &["default"], splits: UNNAMED, ..PLAIN },
    Family {
        names: &["roberta-bpe", "jina-v1-en", "jina-v2-code"],
        adds: Added { bos: true, eos: true, sep: true },
        ..PLAIN
    },
    Family { names: &["modern-bert"], is_composed: true, ..PLAIN },
    Family { names: &["smollm", "starcoder", "refact"], splits: &[r"\p{N}", GPT_2], ..PLAIN },
    Family {
        names: &["llama-bpe", "llama3", "llama-v3"],
        splits: &[LLAMA_3],
        ignores_merges: true,
        adds: Added { bos: true, eos: false, sep: false },
        ..PLAIN
    },
    Family { names: &["qwen2"], is_composed: true, splits: &[QWEN_2], ..PLAIN },
    Family { names: &["deepseek-r1-qwen"], splits: &[QWEN_2], ..PLAIN },
    Family { names: &["deepseek-llm"], splits: DEEPSEEK_LLM, ..PLAIN },
    Family { names: &["deepseek-coder"], splits: DEEPSEEK_CODER, ..PLAIN },
    Family { names: &["deepseek-v3"], splits: DEEPSEEK_V3, ..PLAIN },
];

impl Family {
    /// The family of this name.
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| family.names.contains(&name))
    }

    /// Every name that is known, for error messages.
    pub(super) fn names() -> String {
        FAMILIES.iter().flat_map(|family| family.names).copied().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_one_family() {
        let names: Vec<_> = FAMILIES.iter().flat_map(|family| family.names).collect();
        for name in &names {
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
        }
        assert!(Family::of("tekken").is_none());
    }
}
