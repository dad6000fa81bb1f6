//! Loads the model that a command names, and shows its download.

use gllm::{Client, ClientConfig};

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
    let client = Client::with_progress(&args.model, config, &mut DownloadBar::new(&args.model, console))?;
    tracing::info!("`{}` on {}", client.info().alias, client.device());
    interrupt::check()?;
    Ok(client)
}
