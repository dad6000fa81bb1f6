//! What a model's `config.json` says of how its weights are quantised.
//!
//! Each method has its own fields and its own idea of which layers it covers; from here on there are two questions:
//! whether a layer is quantised, and what its weight is. Source of the fields: `quantization_config.py` of transformers
//! 5.23, and the configurations of the projects that write them.

use std::path::Path;

use gllm_core::{LoadError, LoadProblem, Result};
use serde_json::Value;

use crate::awq::{AwqConfig, AwqWeight};
use crate::compressed_tensors::{CompressedTensorsConfig, CompressedTensorsWeight};
use crate::gptq::{GptqConfig, GptqWeight};
use crate::json_fields::{Field, Fields};
use crate::{GroupQuantized, WeightFiles};

/// The field of `config.json`, and the one that the first files of compressed-tensors have.
const FIELDS: [&str; 2] = ["quantization_config", "compression_config"];

/// How a checkpoint is quantised.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum QuantizationConfig {
    /// By AutoAWQ.
    Awq(AwqConfig),
    /// By AutoGPTQ, GPTQModel or optimum.
    Gptq(GptqConfig),
    /// By llm-compressor, and others that write the format compressed-tensors.
    CompressedTensors(CompressedTensorsConfig),
}

impl QuantizationConfig {
    /// Reads a whole `config.json`; `None` if it says nothing of quantised weights. `path` is for errors.
    ///
    /// ```
    /// # fn main() -> gllm_core::Result<()> {
    /// use gllm_quant::QuantizationConfig;
    ///
    /// let json = r#"{"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}}"#;
    /// let config = QuantizationConfig::parse("config.json".as_ref(), json)?.expect("a quantised model");
    /// assert!(config.is_quantized("model.layers.0.mlp.down_proj"));
    /// assert!(!config.is_quantized("lm_head"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LoadError`] if it isn't JSON, otherwise as [`QuantizationConfig::from_json`].
    pub fn parse(path: &Path, json: &str) -> Result<Option<Self>> {
        let config: Value = serde_json::from_str(json)
            .map_err(|e| LoadError::new(path, LoadProblem::Corrupt { format: "JSON".into(), reason: e.to_string() }))?;
        Self::from_json(path, &config)
    }

    /// As [`QuantizationConfig::parse`], of JSON that is parsed already.
    ///
    /// # Errors
    /// [`LoadError`] for a method or a format that isn't supported, and for a field of another type or out of range;
    /// both name the field.
    pub fn from_json(path: &Path, config: &Value) -> Result<Option<Self>> {
        Self::read(config).map_err(|problem| LoadError::new(path, problem).into())
    }

    fn read(config: &Value) -> Field<Option<Self>> {
        let config = Fields::new("config.json", config)?;
        let Some(name) = FIELDS.into_iter().find(|name| config.is_set(name)) else { return Ok(None) };
        let fields = Fields::new(name, config.get(name).unwrap_or(&Value::Null))?;
        let method = fields.string("quant_method")?;
        match method.ok_or_else(|| fields.bad("quant_method", "awq, gptq or compressed-tensors"))? {
            "awq" => AwqConfig::parse(&fields).map(Self::Awq),
            "gptq" => GptqConfig::parse(&fields).map(Self::Gptq),
            "compressed-tensors" => CompressedTensorsConfig::parse(&fields).map(Self::CompressedTensors),
            _ => Err(fields.unsupported("quant_method", "awq, gptq, compressed-tensors")),
        }
        .map(Some)
    }

    /// Whether the linear layer called `module`, such as `model.layers.0.mlp.down_proj`, is quantised. Only linear
    /// layers are: don't ask for others.
    #[must_use]
    pub fn is_quantized(&self, module: &str) -> bool {
        match self {
            Self::Awq(config) => config.is_quantized(module),
            Self::Gptq(config) => config.is_quantized(module),
            Self::CompressedTensors(config) => config.scheme(module).is_some(),
        }
    }

    /// The weight of the linear layer called `module`, which is of the shape `[outputs, inputs]`. Its tensors are those
    /// whose names start with the module's and a dot.
    ///
    /// # Errors
    /// [`LoadError`] if a tensor is missing, or isn't what the configuration and the shape imply.
    pub fn weight(&self, files: &WeightFiles, module: &str, shape: [usize; 2]) -> Result<GroupQuantized> {
        match self {
            Self::Awq(config) => Ok(AwqWeight::load(files, config, module, shape)?.unpack()),
            Self::Gptq(config) => Ok(GptqWeight::load(files, config, module, shape)?.unpack()),
            Self::CompressedTensors(config) => {
                let Some(scheme) = config.scheme(module) else {
                    let problem = LoadProblem::Field {
                        field: "quantization_config.config_groups".into(),
                        expected: format!("a group with `{module}`"),
                        found: "none".into(),
                    };
                    return Err(LoadError::new(files.folder(), problem).into());
                };
                Ok(CompressedTensorsWeight::load(files, scheme, module, shape)?.unpack())
            }
        }
    }
}

/// Whether the module is in one of a network's numbered blocks, as `0` in `model.layers.0.mlp.down_proj` says.
pub(crate) fn is_in_a_block(module: &str) -> bool {
    module.split('.').any(|part| part.parse::<u32>().is_ok())
}
