//! Which device a model runs on, as a caller asks for it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::InvalidConfig;

/// The device that a model is asked to run on.
///
/// Parses from `auto`, `cpu`, `gpu` (the first one) and `gpu:N`.
///
/// ```
/// use gllm_core::Device;
/// assert_eq!("gpu:1".parse::<Device>().unwrap(), Device::Gpu(1));
/// assert!("tpu".parse::<Device>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Device {
    /// A real GPU where there is one, else the CPU.
    #[default]
    Auto,
    /// The GPU of this index, counted over the real (not software) adapters. Absent is an error.
    Gpu(usize),
    /// The CPU.
    Cpu,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Gpu(index) => write!(f, "gpu:{index}"),
            Self::Cpu => f.write_str("cpu"),
        }
    }
}

impl FromStr for Device {
    type Err = InvalidConfig;

    fn from_str(text: &str) -> Result<Self, InvalidConfig> {
        let unknown = || InvalidConfig {
            field: "device".into(),
            expected: "auto, cpu, gpu or gpu:N".into(),
            found: format!("`{text}`"),
        };
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu(0)),
            _ => {
                let index = text.strip_prefix("gpu:").ok_or_else(unknown)?;
                index.parse().map(Self::Gpu).map_err(|_| unknown())
            }
        }
    }
}

impl TryFrom<String> for Device {
    type Error = InvalidConfig;

    fn try_from(text: String) -> Result<Self, InvalidConfig> {
        text.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::Device;

    #[test]
    fn display_and_parse_are_inverse() {
        for device in [Device::Auto, Device::Cpu, Device::Gpu(0), Device::Gpu(7)] {
            assert_eq!(device.to_string().parse::<Device>(), Ok(device));
        }
    }

    #[test]
    fn unknown_devices_are_refused_with_what_was_found() {
        for text in ["", "GPU", "gpu:", "gpu:-1", "gpu:x", "cuda"] {
            let error = text.parse::<Device>().expect_err(text);
            assert_eq!(error.found, format!("`{text}`"));
        }
    }
}
