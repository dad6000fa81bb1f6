//! Requests for text through the facade, on a tiny random decoder: what comes back, and what is refused.

use gllm::{Client, ClientConfig, Device, Error, FinishReason, GenerationResponse, InferenceError, Message, Precision};
use gllm_tests::golden;

/// A decoder with a tokenizer of lower-case letters, and without a chat template.
fn client() -> Client {
    let path = golden().join("decoders/qwen2.gguf");
    let config = ClientConfig { device: Device::Cpu, precision: Precision::F32, ..ClientConfig::default() };
    Client::with_config(path.to_str().expect("a path in UTF-8"), config).unwrap_or_else(|e| panic!("{e}"))
}

/// Without what depends on the clock.
fn said(response: GenerationResponse) -> (String, Vec<u32>, FinishReason, usize) {
    (response.text, response.tokens, response.finish_reason, response.usage.total_tokens)
}

#[test]
fn pieces_make_the_text_and_the_same_request_the_same_text() {
    let client = client();
    let request = || client.generate("the cat").max_new_tokens(40).temperature(0.0);
    let whole = request().generate().expect("a text");
    assert_eq!(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.tokens.len());
    assert_eq!(whole.timings.cached_tokens, 0);

    let mut stream = request().stream().expect("a text");
    let pieces: Result<Vec<_>, _> = stream.by_ref().collect();
    assert_eq!(pieces.expect("pieces").concat(), whole.text);
    let streamed = stream.response();
    // All but the last token of the prompt was there already.
    assert_eq!(streamed.timings.cached_tokens, streamed.usage.prompt_tokens - 1);
    assert_eq!(said(streamed), said(whole));

    let sampled = |seed| {
        said(client.generate("the cat").max_new_tokens(40).temperature(1.5).seed(seed).generate().expect("a text"))
    };
    assert_eq!(sampled(7), sampled(7));
    assert_ne!(sampled(7), sampled(8));
}

#[test]
fn a_text_that_is_dropped_leaves_what_it_has_read() {
    let client = client();
    let mut dropped = client.generate("a dog ran").max_new_tokens(30).stream().expect("a text");
    let _ = dropped.by_ref().take(5).collect::<Vec<_>>();
    drop(dropped);
    let again = client.generate("a dog ran").max_new_tokens(30).generate().expect("a text");
    assert!(again.timings.cached_tokens > 0);
    let fresh = self::client().generate("a dog ran").max_new_tokens(30).generate().expect("a text");
    assert_eq!(said(again), said(fresh));
}

#[test]
fn a_stop_string_ends_the_text_and_is_not_in_it() {
    let client = client();
    let whole = client.generate("the cat").max_new_tokens(40).temperature(0.0).generate().expect("a text");
    let characters: Vec<(usize, char)> = whole.text.char_indices().collect();
    let (start, end) = (characters[3].0, characters[6].0);
    let stop = &whole.text[start..end];
    let first = whole.text.find(stop).expect("a part of it");
    let stopped = client.generate("the cat").max_new_tokens(40).temperature(0.0).stop(stop).generate().expect("a text");
    assert_eq!((stopped.text.as_str(), stopped.finish_reason), (&whole.text[..first], FinishReason::Stop));
}

#[test]
fn logprobs_are_of_each_token_and_sum_to_at_most_one() {
    let response =
        client().generate("the cat").max_new_tokens(5).temperature(0.0).logprobs(3).generate().expect("a text");
    assert_eq!(response.logprobs.len(), response.tokens.len());
    for (id, token) in response.tokens.iter().zip(&response.logprobs) {
        assert_eq!((token.id, token.top.len()), (*id, 3));
        // The greedy choice is the most likely one.
        assert_eq!((token.top[0].id, token.top[0].logprob), (token.id, token.logprob));
        assert!(token.top.iter().map(|other| other.logprob.exp()).sum::<f32>() <= 1.0 + 1e-5);
    }
}

#[test]
fn a_text_keeps_to_its_form() {
    let client = client();
    let response =
        client.generate("the cat").regex("(ab|cd){2,4}").seed(1).temperature(1.0).generate().expect("a text");
    let parts = response.text.as_bytes().chunks(2).map(|part| matches!(part, b"ab" | b"cd"));
    assert!(response.text.len() >= 4 && parts.clone().all(|is_part| is_part), "{:?}", response.text);
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let client = client();
    let request = || client.generate("the cat");
    let long = "the cat ".repeat(2000);
    let cases = [
        ("max_new_tokens", request().max_new_tokens(0).generate()),
        ("temperature", request().temperature(f32::NAN).generate()),
        ("temperature", request().temperature(-1.0).generate()),
        ("top_p", request().top_p(0.0).generate()),
        ("min_p", request().min_p(2.0).generate()),
        ("prompt", client.generate("").generate()),
        ("json_schema", request().json_schema(serde_json::json!(false)).generate()),
        ("regex", request().regex("(").generate()),
        ("stop", request().stop("").generate()),
        ("context", client.generate(long).generate()),
        ("chat template", client.chat([Message::user("the cat")]).generate()),
    ];
    for (name, outcome) in cases {
        let error = outcome.map(said).expect_err(name).to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
    let error = client.embeddings(["a"]).generate().expect_err("no embedding model");
    assert!(matches!(error, Error::InvalidConfig(_)), "{error}");
}

#[test]
fn a_prompt_that_fills_the_context_says_how_long_it_is() {
    let client = client();
    let limit = client.info().max_length.expect("a limit");
    let prompt = "a ".repeat(limit);
    let error = client.generate(prompt).generate().expect_err("too long");
    let Error::InferenceError(InferenceError::ContextFull { tokens, limit: found }) = error else { panic!("{error}") };
    assert!(tokens >= limit && found == limit, "{tokens} tokens, {found}");
}

#[cfg(feature = "async")]
#[test]
fn the_asynchronous_client_writes_the_same() {
    let path = golden().join("decoders/qwen2.gguf");
    let path = path.to_str().expect("a path in UTF-8");
    let config = ClientConfig { device: Device::Cpu, precision: Precision::F32, ..ClientConfig::default() };
    let expected = client().generate("the cat").max_new_tokens(30).temperature(0.0).generate().expect("a text");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let client = gllm::AsyncClient::with_config(path, config).await.unwrap_or_else(|e| panic!("{e}"));
        let request = || client.generate("the cat").max_new_tokens(30).temperature(0.0);
        // The first is dropped: it holds up nothing.
        drop(request().stream());
        let (one, two) = (request().generate().await, request().generate().await);
        for response in [one, two] {
            assert_eq!(said(response.expect("a text")), said(expected.clone()));
        }
        let error = request().temperature(-1.0).generate().await.expect_err("a temperature below 0").to_string();
        assert!(error.contains("temperature"), "{error}");
    });
}
