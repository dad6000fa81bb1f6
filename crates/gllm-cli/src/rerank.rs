//! `gllm rerank`: how well documents answer a query, the best first.
//!
//! Documents are scored chunk by chunk and only those that may be in the answer are kept, so that the input may be long
//! where `--top-n` is small. The form of `--json`: <https://jina.ai/reranker/>; `truncated` and `query_truncated` are
//! ours, and only there when something was cut.

use std::fmt::{self, Display};

use gllm::{Client, InvalidConfig, RerankResponse, RerankResult, Truncated, Usage};
use serde::Serialize;

use crate::args::RerankArgs;
use crate::console::{Console, answer, answer_columns, answer_json};
use crate::exit::Failure;
use crate::input::{Chunk, Input};
use crate::place::{Cut, Place};
use crate::progress::TextBar;
use crate::{client, line};

pub(crate) fn run(mut args: RerankArgs, console: Console) -> Result<(), Failure> {
    let documents = std::mem::take(&mut args.documents);
    let input = Input::open(documents, args.input.as_deref())?;
    let client = client::load(&args.model, console)?;
    let place = Place::documents(&input);
    let ranking = rank(&client, &args, input, &place, console)?;

    let mut cut = Cut::default();
    ranking.truncated.iter().for_each(|truncated| cut.add(*truncated));
    cut.warn(&place, console);
    if ranking.query_truncated {
        console.warn("the query was cut too: it leaves no room for a document");
    }
    if args.json {
        return answer_json(&Answer::of(&client.info().alias, &ranking));
    }
    answer(Table { results: &ranking.results, columns: answer_columns() })
}

fn rank(
    client: &Client,
    args: &RerankArgs,
    input: Input,
    place: &Place,
    console: Console,
) -> Result<RerankResponse, Failure> {
    let mut bar = TextBar::new(&input, console);
    let mut ranking = RerankResponse::default();
    let mut seen = 0;
    let mut chunks = input.chunks();
    while let Some(chunk) = chunks.next()? {
        let (first, next, end) = (chunk.first, chunk.next(), chunk.end);
        bar.start();
        merge(&mut ranking, score(client, args, chunk, place)?, args.top_n);
        bar.advance(next - first, end);
        seen = next;
    }
    if seen == 0 {
        return Err(InvalidConfig::new("documents", "at least one document", "none").into());
    }
    Ok(ranking)
}

/// The ranking of a chunk, with places in the whole input.
fn score(client: &Client, args: &RerankArgs, chunk: Chunk, place: &Place) -> Result<RerankResponse, Failure> {
    let first = chunk.first;
    let request = client.rerank(&args.query, chunk.texts).return_documents(true);
    let mut request = request.raw_scores(args.raw_scores).truncation(args.on_long.into());
    if let Some(instruction) = &args.instruction {
        request = request.instruction(instruction);
    }
    if let Some(documents) = args.top_n {
        request = request.top_n(documents);
    }
    if let Some(tokens) = args.max_length {
        request = request.max_length(tokens);
    }
    if let Some(tokens) = args.batch_tokens {
        request = request.batch_tokens(tokens);
    }
    let mut response = request.generate().map_err(|error| place.located(error, first))?;
    response.results.iter_mut().for_each(|result| result.index += first);
    response.truncated.iter_mut().for_each(|truncated| truncated.index += first);
    Ok(response)
}

/// Adds the ranking of later documents.
fn merge(ranking: &mut RerankResponse, later: RerankResponse, top_n: Option<usize>) {
    ranking.results.extend(later.results);
    // Stable: documents of equal score stay in the order of the input.
    ranking.results.sort_by(|a, b| b.score.total_cmp(&a.score));
    ranking.results.truncate(top_n.unwrap_or(usize::MAX));
    ranking.usage.prompt_tokens += later.usage.prompt_tokens;
    ranking.usage.total_tokens += later.usage.total_tokens;
    ranking.truncated.extend(later.truncated);
    ranking.query_truncated |= later.query_truncated;
}

/// The form of `--json`.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    model: &'a str,
    object: &'static str,
    usage: Usage,
    results: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    truncated: &'a [Truncated],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    query_truncated: bool,
}

#[derive(Debug, Serialize)]
struct Item<'a> {
    index: usize,
    relevance_score: f32,
    document: Document<'a>,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    text: &'a str,
}

impl<'a> Answer<'a> {
    fn of(model: &'a str, ranking: &'a RerankResponse) -> Self {
        let results = ranking.results.iter().map(|result| Item {
            index: result.index,
            relevance_score: result.score,
            document: Document { text: text(result) },
        });
        let (truncated, query_truncated) = (&ranking.truncated, ranking.query_truncated);
        Self { model, object: "list", usage: ranking.usage, results: results.collect(), truncated, query_truncated }
    }
}

/// A line for each document: its score, its place counted from 1, its text.
struct Table<'a> {
    results: &'a [RerankResult],
    /// Lines are cut to these, if any.
    columns: Option<usize>,
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scores: Vec<_> = self.results.iter().map(|result| format!("{:.6}", result.score)).collect();
        let score_width = scores.iter().map(String::len).max().unwrap_or(0);
        let place_width = self.results.iter().map(|result| (result.index + 1).to_string().len()).max().unwrap_or(0);
        for (row, (result, score)) in self.results.iter().zip(&scores).enumerate() {
            let line_end = if row > 0 { "\n" } else { "" };
            let start = format!("{score:>score_width$}  {:>place_width$}  ", result.index + 1);
            let text: String = match self.columns {
                Some(columns) => line::shortened(text(result), columns.saturating_sub(start.len()).max(1)),
                None => line::flat(text(result)).collect(),
            };
            write!(f, "{line_end}{start}{text}")?;
        }
        Ok(())
    }
}

fn text(result: &RerankResult) -> &str {
    result.document.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(index: usize, score: f32, text: &str) -> RerankResult {
        RerankResult { index, score, document: Some(text.to_owned()) }
    }

    #[test]
    fn chunks_merge_into_one_ranking_with_equals_in_the_order_of_the_input() {
        let chunk = |results: Vec<RerankResult>, cut| RerankResponse {
            truncated: vec![Truncated { index: results[0].index, tokens: 9, kept: 4 }],
            results,
            usage: Usage { prompt_tokens: 5, total_tokens: 5 },
            query_truncated: cut,
        };
        let chunks = || {
            [
                chunk(vec![result(1, 0.5, ""), result(0, 0.25, "")], false),
                chunk(vec![result(3, 0.75, ""), result(2, 0.5, "")], true),
                chunk(vec![result(4, 0.5, "")], false),
            ]
        };
        for (top_n, expected) in [(None, &[3, 1, 2, 4, 0][..]), (Some(3), &[3, 1, 2]), (Some(9), &[3, 1, 2, 4, 0])] {
            let mut ranking = RerankResponse::default();
            for chunk in chunks() {
                merge(&mut ranking, chunk, top_n);
            }
            let order: Vec<_> = ranking.results.iter().map(|result| result.index).collect();
            assert_eq!(order, expected);
            assert_eq!((ranking.usage.prompt_tokens, ranking.query_truncated), (15, true));
            assert_eq!(ranking.truncated.iter().map(|cut| cut.index).collect::<Vec<_>>(), [1, 3, 4]);
        }
    }

    #[test]
    fn table_is_aligned_and_a_document_is_one_line() {
        let results = [result(9, 0.5, "one\r\ntwo"), result(0, -10.25, "three four")];
        let table = |columns| Table { results: &results, columns }.to_string();
        assert_eq!(table(None), "  0.500000  10  one  two\n-10.250000   1  three four");
        assert_eq!(table(Some(24)), "  0.500000  10  one  two\n-10.250000   1  three f…");
        assert_eq!(table(Some(3)), "  0.500000  10  …\n-10.250000   1  …");
    }
}
