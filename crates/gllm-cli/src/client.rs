//! The model that a command names: it is loaded, its download is shown, its limits are known.

use gllm::{Client, ClientConfig, FinishReason, GenerationResponse};

use crate::args::ModelArgs;
use crate::console::Console;
use crate::exit::Failure;
use crate::interrupt;
use crate::progress::DownloadBar;

/// The model, downloaded first if it isn't on this machine.
pub(crate) fn load(args: &ModelArgs, console: Console) -> Result<Client, Failure> {
    let mut config = ClientConfig::from_env()?;
    if let Some(device) = args.device {
        config.device = device;
    }
    if let Some(precision) = args.precision {
        config.precision = precision;
    }
    let client = Client::with_progress(&args.model, config, &mut DownloadBar::new(&args.model, console))?;
    tracing::info!("`{}` on {}", client.info().alias, client.device());
    interrupt::check()?;
    Ok(client)
}

/// Whether a text ends because the model's context has no room for more.
pub(crate) fn is_full(client: &Client, response: &GenerationResponse) -> bool {
    let tokens = response.usage.prompt_tokens + response.tokens.len();
    let is_full = client.info().max_length.is_some_and(|limit| tokens >= limit);
    is_full && response.finish_reason == FinishReason::Length
}
