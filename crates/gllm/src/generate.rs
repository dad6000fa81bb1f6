//! A request for text.

use gllm_core::{GenerationResponse, InvalidConfig, Message, Result};
use gllm_models::{GenerateOptions, Generation, Prompt};

use crate::Client;

/// A request for text; [`GenerationBuilder::generate`] or [`GenerationBuilder::stream`] answers it.
#[derive(Clone, Debug)]
#[must_use = "nothing is computed before `generate` or `stream`"]
pub struct GenerationBuilder<'a> {
    client: &'a Client,
    input: Input,
    options: GenerateOptions,
}

/// What a request starts from.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// A prompt by itself, with what is said before it.
    Prompt { text: String, system: Option<String>, is_raw: bool },
    /// A conversation.
    Chat { messages: Vec<Message>, is_raw: bool },
}

impl Input {
    pub(crate) fn prompt(text: impl Into<String>) -> Self {
        Self::Prompt { text: text.into(), system: None, is_raw: false }
    }

    pub(crate) fn chat(messages: impl IntoIterator<Item = Message>) -> Self {
        Self::Chat { messages: messages.into_iter().collect(), is_raw: false }
    }

    /// What goes to the model; one without a chat template reads a prompt as it is.
    pub(crate) fn into_prompt(self, has_template: bool) -> Result<Prompt> {
        let refused = |found: &str| Err(InvalidConfig::new("raw", "a prompt alone, without a template", found).into());
        match self {
            Self::Prompt { text, system: None, is_raw } if is_raw || !has_template => Ok(Prompt::Raw(text)),
            Self::Prompt { is_raw: true, .. } => {
                refused("a system message, which only a chat template has a place for")
            }
            Self::Chat { is_raw: true, .. } => refused("a conversation, which only a chat template makes a prompt of"),
            Self::Prompt { text, system, .. } => {
                let system = system.map(Message::system);
                Ok(Prompt::Chat(system.into_iter().chain([Message::user(text)]).collect()))
            }
            Self::Chat { messages, .. } => Ok(Prompt::Chat(messages)),
        }
    }
}

impl<'a> GenerationBuilder<'a> {
    pub(crate) fn new(client: &'a Client, input: Input) -> Self {
        Self { client, input, options: GenerateOptions::default() }
    }

    /// Writes the text.
    ///
    /// # Errors
    /// [`gllm_core::InvalidConfig`] for an option that is out of range or contradicts another, a prompt that has no text, or a model that
    /// isn't for text; [`gllm_core::InferenceError`] for a prompt that is too long for the context, or that the model's
    /// chat template refuses.
    pub fn generate(self) -> Result<GenerationResponse> {
        let engine = self.client.generator()?;
        engine.generate(&self.input.into_prompt(engine.has_chat_template())?, &self.options)
    }

    /// Writes the text piece by piece: the iterator computes as it is asked, and stops when it is dropped.
    ///
    /// ```no_run
    /// let client = gllm::Client::new("qwen2.5-coder-0.5b-instruct")?;
    /// let mut text = client.generate("Write a haiku about Rust.").stream()?;
    /// for piece in &mut text {
    ///     print!("{}", piece?);
    /// }
    /// println!("\n{} tokens", text.response().tokens.len());
    /// # Ok::<(), gllm::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`GenerationBuilder::generate`].
    pub fn stream(self) -> Result<Generation<'a>> {
        let engine = self.client.generator()?;
        engine.start(&self.input.into_prompt(engine.has_chat_template())?, &self.options)
    }
}

/// The options of a request, the same for every client.
macro_rules! generate_options {
    ($builder:ty) => {
        impl $builder {
            /// Most tokens of the answer; by default, as many as the context has room for.
            pub fn max_new_tokens(mut self, tokens: usize) -> Self {
                self.options.max_new_tokens = Some(tokens);
                self
            }

            /// How tokens are chosen, all at once.
            pub fn sampling(mut self, options: gllm_models::SamplingOptions) -> Self {
                self.options.sampling = options;
                self
            }

            /// How far choices stray from the most likely token: 0 never does, 1 follows the model's probabilities.
            pub fn temperature(mut self, temperature: f32) -> Self {
                self.options.sampling.temperature = Some(temperature);
                self
            }

            /// Choose among the most likely tokens that together have this probability.
            pub fn top_p(mut self, top_p: f32) -> Self {
                self.options.sampling.top_p = Some(top_p);
                self
            }

            /// Choose among this many of the most likely tokens; 0 for all.
            pub fn top_k(mut self, top_k: usize) -> Self {
                self.options.sampling.top_k = Some(top_k);
                self
            }

            /// Choose among tokens that are at least this likely, relative to the most likely one.
            pub fn min_p(mut self, min_p: f32) -> Self {
                self.options.sampling.min_p = Some(min_p);
                self
            }

            /// Makes tokens of the prompt and the text less likely: above 1; 1 for no change.
            pub fn repetition_penalty(mut self, penalty: f32) -> Self {
                self.options.sampling.repetition_penalty = Some(penalty);
                self
            }

            /// Taken off a token's logit for each time that it is in the text: -2 to 2.
            pub fn frequency_penalty(mut self, penalty: f32) -> Self {
                self.options.sampling.frequency_penalty = Some(penalty);
                self
            }

            /// Taken off a token's logit once it is in the text: -2 to 2.
            pub fn presence_penalty(mut self, penalty: f32) -> Self {
                self.options.sampling.presence_penalty = Some(penalty);
                self
            }

            /// The same seed gives the same text.
            pub fn seed(mut self, seed: u64) -> Self {
                self.options.sampling.seed = Some(seed);
                self
            }

            /// Added to the logit of a token; `f32::NEG_INFINITY` forbids it.
            pub fn logit_bias(mut self, token: u32, bias: f32) -> Self {
                self.options.sampling.logit_bias.insert(token, bias);
                self
            }

            /// Return the probability of each token, and of this many of the most likely ones in its place.
            pub fn logprobs(mut self, top: usize) -> Self {
                self.options.sampling.logprobs = Some(top);
                self
            }

            /// A string that ends the text before it; may be called for several.
            pub fn stop(mut self, text: impl Into<String>) -> Self {
                self.options.stop.push(text.into());
                self
            }

            /// The text is JSON that this schema describes.
            pub fn json_schema(mut self, schema: serde_json::Value) -> Self {
                self.options.format = Some(gllm_models::TextFormat::JsonSchema(schema));
                self
            }

            /// The text is one that this regular expression matches as a whole.
            pub fn regex(mut self, pattern: impl Into<String>) -> Self {
                self.options.format = Some(gllm_models::TextFormat::Regex(pattern.into()));
                self
            }

            /// A variable of the model's chat template, such as `enable_thinking`.
            pub fn template_variable(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
                self.options.template.insert(name.into(), value.into());
                self
            }

            /// What the model must keep to: a system message before the prompt.
            pub fn system(mut self, text: impl Into<String>) -> Self {
                match &mut self.input {
                    $crate::generate::Input::Prompt { system, .. } => *system = Some(text.into()),
                    $crate::generate::Input::Chat { messages, .. } => {
                        messages.insert(0, gllm_core::Message::system(text));
                    }
                }
                self
            }

            /// Give the prompt to the model as it is, without its chat template: a prompt alone, since what a system message
            /// and a conversation become is the template's to say.
            pub fn raw(mut self, yes: bool) -> Self {
                use $crate::generate::Input::{Chat, Prompt};
                match &mut self.input {
                    Prompt { is_raw, .. } | Chat { is_raw, .. } => *is_raw = yes,
                }
                self
            }
        }
    };
}

#[cfg(feature = "async")]
pub(crate) use generate_options;

generate_options!(GenerationBuilder<'_>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_is_for_a_prompt_alone() {
        let raw = |mut input: Input| {
            match &mut input {
                Input::Prompt { is_raw, .. } | Input::Chat { is_raw, .. } => *is_raw = true,
            }
            input
        };
        for has_template in [false, true] {
            let prompt = raw(Input::prompt("a")).into_prompt(has_template).expect("a prompt alone");
            assert!(matches!(prompt, Prompt::Raw(text) if text == "a"));
            let told = Input::Prompt { text: "a".into(), system: Some("b".into()), is_raw: true };
            for input in [told, raw(Input::chat([Message::user("a")]))] {
                let error = input.into_prompt(has_template).expect_err("nothing raw").to_string();
                assert!(error.contains("invalid `raw`"), "{error}");
            }
        }
    }
}
