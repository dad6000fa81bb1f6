//! From the arguments that say how tokens are chosen to a request.

use gllm::{GenerationBuilder, SamplingOptions};

use crate::args::ChoiceArgs;
use crate::exit::Failure;

/// Refuses what no model could do, before one is downloaded.
pub(crate) fn check(args: &ChoiceArgs) -> Result<(), Failure> {
    let options = SamplingOptions {
        temperature: args.temperature,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        frequency_penalty: args.frequency_penalty,
        presence_penalty: args.presence_penalty,
        ..SamplingOptions::default()
    };
    Ok(options.check(usize::MAX)?)
}

/// The request with what the arguments say.
pub(crate) fn apply<'a>(args: &ChoiceArgs, request: GenerationBuilder<'a>) -> GenerationBuilder<'a> {
    type Request<'a> = GenerationBuilder<'a>;

    let request = set(request, args.max_tokens, Request::max_new_tokens);
    let request = set(request, args.temperature, Request::temperature);
    let request = set(request, args.top_p, Request::top_p);
    let request = set(request, args.top_k, Request::top_k);
    let request = set(request, args.min_p, Request::min_p);
    let request = set(request, args.repetition_penalty, Request::repetition_penalty);
    let request = set(request, args.frequency_penalty, Request::frequency_penalty);
    let request = set(request, args.presence_penalty, Request::presence_penalty);
    let request = set(request, args.seed, Request::seed);
    args.stop.iter().fold(request, Request::stop)
}

/// The request with a value that is there, or as it was.
pub(crate) fn set<R, T>(request: R, value: Option<T>, setter: impl FnOnce(R, T) -> R) -> R {
    match value {
        Some(value) => setter(request, value),
        None => request,
    }
}
