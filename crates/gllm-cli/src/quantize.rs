//! `gllm quantize`: a model as a GGUF file.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use gllm::hub::{HubConfig, ModelId, Store};
use gllm::{Exported, TypeTotal, export_gguf};
use indicatif::DecimalBytes;
use serde::Serialize;

use crate::args::QuantizeArgs;
use crate::console::{Console, answer_json};
use crate::exit::Failure;
use crate::interrupt;
use crate::progress::{DownloadBar, WeightsBar};

/// The form of `--json`.
#[derive(Debug, Serialize)]
struct Written {
    model: String,
    output: PathBuf,
    #[serde(rename = "type")]
    of: String,
    bytes: u64,
    tensors: usize,
    types: Vec<Total>,
}

/// The tensors of a type.
#[derive(Debug, Serialize)]
struct Total {
    #[serde(rename = "type")]
    of: String,
    tensors: usize,
    values: u64,
    bytes: u64,
}

/// Writes the file, then says what is in it.
pub(crate) fn run(args: &QuantizeArgs, console: Console) -> Result<(), Failure> {
    check_output(&args.output, args.force)?;
    let store = Store::new(HubConfig::from_env()?);
    let path = store.fetch(&ModelId::parse(&args.model)?, &mut DownloadBar::new(&args.model, console))?;
    interrupt::check()?;
    let exported = export_gguf(&path, &args.output, args.of, &mut WeightsBar::new(console)).or_else(|error| {
        interrupt::check()?;
        Err(Failure::from(error))
    })?;
    let written = Written::new(args, exported);
    if args.json {
        return answer_json(&written);
    }
    console.note(&written.to_string());
    Ok(())
}

/// Before a download, not after it.
fn check_output(path: &Path, force: bool) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(Failure::Usage(format!("`{}` is a folder; name a file to write", path.display())));
    }
    if path.exists() && !force {
        return Err(Failure::Usage(format!("`{}` is there already; --force replaces it", path.display())));
    }
    Ok(())
}

impl Written {
    fn new(args: &QuantizeArgs, exported: Exported) -> Self {
        let total = |of: TypeTotal| Total { of: of.name, tensors: of.tensors, values: of.values, bytes: of.bytes };
        Self {
            model: args.model.clone(),
            output: args.output.clone(),
            of: args.of.to_string(),
            bytes: exported.bytes,
            tensors: exported.tensors,
            types: exported.types.into_iter().map(total).collect(),
        }
    }
}

impl Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrote `{}`, {} of {}", self.output.display(), DecimalBytes(self.bytes), self.of)?;
        for Total { of, tensors, values, bytes } in &self.types {
            let bits = *bytes as f64 * 8.0 / (*values).max(1) as f64;
            write!(
                f,
                "\n  {of:<7} {tensors:>5} tensors {:>10} {bits:>6.2} bits a weight",
                DecimalBytes(*bytes).to_string()
            )?;
        }
        Ok(())
    }
}
