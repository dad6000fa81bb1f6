//! The front matter of a model card (`README.md`): what a publisher states of a model, field by field.
//!
//! It is YAML, of which cards use little: text, and lists of text. That is read; what else there is, such as results
//! of benchmarks, is passed over. A card can't be malformed, only say less. Source:
//! <https://huggingface.co/docs/hub/model-cards#model-card-metadata>.

use std::collections::BTreeMap;
use std::path::Path;

/// Fields of a card, each a list; text is a list of one.
#[derive(Debug, Default)]
pub(super) struct Card(BTreeMap<String, Vec<String>>);

impl Card {
    /// Reads the card in `folder`; one without fields, if there is none.
    pub(super) fn read(folder: &Path) -> Self {
        std::fs::read_to_string(folder.join("README.md")).map(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if lines.next() != Some("---") {
            return Self::default();
        }
        let mut field = None;
        for line in lines.take_while(|line| *line != "---") {
            let (inner, line) = (line.starts_with([' ', '\t']), line.trim());
            if let Some(item) = line.strip_prefix("- ") {
                // A list of more than text is of no use here.
                if let Some(values) = field.as_ref().and_then(|field| fields.get_mut(field)) {
                    values.extend(scalar(item));
                }
            } else if let Some((key, value)) = line.split_once(':').filter(|_| !inner) {
                field = Some(key.to_owned());
                let values = match value.trim().strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
                    Some(list) => list.split(',').filter_map(scalar).collect(),
                    None => scalar(value).into_iter().collect(),
                };
                fields.insert(key.to_owned(), values);
            }
        }
        Self(fields)
    }

    /// The texts of the first of `fields` that is there.
    pub(super) fn list(&self, fields: &[&str]) -> &[String] {
        fields.iter().find_map(|field| self.0.get(*field)).map_or(&[], Vec::as_slice)
    }

    /// The text of the first of `fields` that is there and isn't empty.
    pub(super) fn text(&self, fields: &[&str]) -> Option<&str> {
        fields.iter().find_map(|field| self.0.get(*field)?.first()).map(String::as_str)
    }
}

/// Plain or quoted text; `None` of what is something else, and of nothing.
fn scalar(text: &str) -> Option<String> {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return Some(inner.to_owned());
        }
    }
    let text = text.split(" #").next().unwrap_or_default().trim();
    let is_plain = !text.is_empty()
        && !text.starts_with(['{', '[', '|', '>', '&', '*', '#'])
        && !text.contains(": ")
        && !text.ends_with(':');
    is_plain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::Card;

    #[test]
    fn text_and_lists_are_read() {
        let card = Card::parse(
            "---\nlicense: apache-2.0\nlanguage:\n- en\n- no\ntags: [a, 'b, c']\ndatasets:\n  - x/y # why\n  - \"z\"\n\
             model-index:\n- name: n\n  results:\n  - task:\n      type: t\nempty:\n---\nlicense: other\n",
        );
        assert_eq!(card.text(&["license_name", "license"]), Some("apache-2.0"));
        assert_eq!(card.list(&["language"]), ["en", "no"]);
        assert_eq!(card.list(&["datasets"]), ["x/y", "z"]);
        assert!(card.list(&["model-index"]).is_empty());
        assert_eq!(card.text(&["empty"]), None);
    }

    #[test]
    fn a_page_without_front_matter_says_nothing() {
        assert_eq!(Card::parse("# Model\nlicense: mit\n").text(&["license"]), None);
        assert_eq!(Card::parse("").text(&["license"]), None);
    }
}
