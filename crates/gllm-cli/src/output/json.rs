//! One JSON document in the shape of `OpenAI`'s answer, written piece by piece.
//!
//! Source: <https://platform.openai.com/docs/api-reference/embeddings/object>; `truncated` is ours, and is only there
//! when a text was cut, and so are `sparse` and `multi_vector`, which are there when they were asked for.

use std::io::{self, Write};

use gllm::{Embedding, Truncated, Usage};
use serde::Serialize;

use super::row::Row;
use super::{Rows, Summary};

pub(super) struct Json<W> {
    sink: W,
    has_rows: bool,
    truncated: Vec<Truncated>,
}

#[derive(Serialize)]
struct Item<'a> {
    object: &'static str,
    #[serde(flatten)]
    row: Row<'a>,
}

/// The keys after `data`.
#[derive(Serialize)]
struct End<'a> {
    model: &'a str,
    usage: Usage,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    truncated: &'a [Truncated],
}

impl<W> Json<W> {
    pub(super) fn new(sink: W) -> Self {
        Self { sink, has_rows: false, truncated: Vec::new() }
    }
}

impl<W: Write> Rows for Json<W> {
    fn row(&mut self, embedding: &Embedding) -> io::Result<()> {
        let before: &[u8] = if self.has_rows { b"," } else { br#"{"object":"list","data":["# };
        self.has_rows = true;
        self.sink.write_all(before)?;
        Ok(serde_json::to_writer(&mut self.sink, &Item { object: "embedding", row: embedding.into() })?)
    }

    fn cut(&mut self, truncated: Truncated) {
        self.truncated.push(truncated);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        let end = End { model: &summary.model, usage: summary.usage, truncated: &self.truncated };
        let end = serde_json::to_string(&end)?;
        // The end's own brace was opened by the first row.
        writeln!(self.sink, "],{}", &end[1..])?;
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_is_json_and_names_cut_texts_only_if_there_are_any() {
        for cut in [false, true] {
            let mut json = Json::new(Vec::new());
            for (index, embedding) in [vec![0.5, -1.0], vec![0.1, 1e-8]].into_iter().enumerate() {
                json.row(&Embedding { index, embedding, ..Embedding::default() }).expect("a row");
            }
            if cut {
                json.cut(Truncated { index: 1, tokens: 9, kept: 4 });
            }
            let summary = Summary { model: "a\"b".into(), usage: Usage { prompt_tokens: 5, total_tokens: 5 } };
            json.finish(&summary).expect("an end");
            let text = String::from_utf8(json.sink).expect("UTF-8");
            let truncated = if cut { r#","truncated":[{"index":1,"tokens":9,"kept":4}]"# } else { "" };
            let expected = [
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1.0]},"#,
                r#"{"object":"embedding","index":1,"embedding":[0.1,1e-8]}],"#,
                r#""model":"a\"b","usage":{"prompt_tokens":5,"total_tokens":5}"#,
                truncated,
                "}\n",
            ];
            assert_eq!(text, expected.concat());
        }
    }
}
