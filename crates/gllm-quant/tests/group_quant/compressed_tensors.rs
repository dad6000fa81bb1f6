//! Layers of compressed-tensors that aren't what their scheme says, and which scheme a layer has.

use gllm_core::LoadProblem;
use gllm_quant::QuantizationConfig;
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::layers::{Layer, Tensor, compressed};
use crate::malformed::{field_problem, name, shape_problem};

/// 10 outputs, 36 inputs, three groups.
fn layer() -> Layer {
    Layer::new(10, 3, 12, 4, 1)
}

fn packed() -> Value {
    compressed("pack-quantized", 4, Some(12), false)
}

fn int8(bits: usize) -> Value {
    compressed("int-quantized", bits, Some(12), false)
}

#[test]
fn a_missing_tensor_is_named() {
    for tensor in ["weight_packed", "weight_scale", "weight_zero_point", "weight_shape"] {
        let problem = layer().packed().without(tensor).problem(&packed(), [10, 36]);
        assert_eq!(problem, LoadProblem::MissingTensor { tensor: name(tensor), nearest: None });
    }
    for tensor in ["weight", "weight_scale", "weight_zero_point"] {
        let problem = layer().int8().without(tensor).problem(&int8(4), [10, 36]);
        assert_eq!(problem, LoadProblem::MissingTensor { tensor: name(tensor), nearest: None });
    }
}

#[test]
fn a_tensor_of_another_shape_is_refused() {
    let cases = [("weight_packed", vec![10, 5]), ("weight_scale", vec![10, 3]), ("weight_zero_point", vec![2, 3])];
    for (tensor, expected) in cases {
        let dtype = if tensor == "weight_scale" { Dtype::F16 } else { Dtype::I32 };
        let tensors = layer().packed().with(tensor, Tensor::blank(dtype, &[3, 10]));
        assert_eq!(shape_problem(&tensors, &packed(), [10, 36]), (name(tensor), expected));
    }
    for (tensor, expected) in [("weight", vec![10, 36]), ("weight_zero_point", vec![10, 3])] {
        let tensors = layer().int8().with(tensor, Tensor::blank(Dtype::I8, &[3, 10]));
        assert_eq!(shape_problem(&tensors, &int8(4), [10, 36]), (name(tensor), expected));
    }
}

#[test]
fn a_tensor_of_another_type_is_refused() {
    let cases = [
        (layer().packed(), packed(), "weight_packed", Tensor::blank(Dtype::I8, &[10, 5])),
        (layer().packed(), packed(), "weight_scale", Tensor::blank(Dtype::I8, &[10, 3])),
        (layer().packed(), packed(), "weight_zero_point", Tensor::blank(Dtype::I8, &[2, 3])),
        (layer().packed(), packed(), "weight_shape", Tensor::blank(Dtype::F32, &[2])),
        (layer().int8(), int8(4), "weight", Tensor::blank(Dtype::F8_E4M3, &[10, 36])),
        (layer().int8(), int8(4), "weight_zero_point", Tensor::blank(Dtype::U8, &[10, 3])),
    ];
    for (tensors, config, tensor, wrong) in cases {
        let problem = tensors.with(tensor, wrong).problem(&config, [10, 36]);
        assert!(matches!(&problem, LoadProblem::DType { tensor: found, .. } if *found == name(tensor)), "{problem}");
    }
}

#[test]
fn weight_shape_must_be_the_layers() {
    for (dtype, shape) in [(Dtype::I64, [36, 10]), (Dtype::I32, [10, 37]), (Dtype::I64, [10, -36])] {
        let tensors = layer().packed().with("weight_shape", Tensor::integers(dtype, &shape));
        assert_eq!(field_problem(&tensors, &packed(), [10, 36]), (name("weight_shape"), format!("{shape:?}")));
    }
    let tensors = layer().packed().with("weight_shape", Tensor::integers(Dtype::I32, &[10, 36]));
    assert!(tensors.read(&packed(), [10, 36]).is_ok());
}

#[test]
fn codes_and_zeros_out_of_range_are_refused() {
    for (tensor, shape) in [("weight", [10, 36]), ("weight_zero_point", [10, 3])] {
        for wrong in [8_i8, -9, 127, -128] {
            let mut values = Tensor::blank(Dtype::I8, &shape);
            values.bytes[17] = wrong.cast_unsigned();
            let tensors = layer().int8().with(tensor, values);
            let problem = tensors.problem(&int8(4), [10, 36]);
            let LoadProblem::Corrupt { reason, .. } = problem else { panic!("{problem}") };
            assert_eq!(reason, format!("tensor `{}`: {wrong} is not a number of 4 bits", name(tensor)));
        }
    }
}

#[test]
fn ordered_groups_need_weight_g_idx() {
    let mut config = packed();
    config["config_groups"]["group_0"]["weights"]["actorder"] = "group".into();
    let problem = layer().packed().problem(&config, [10, 36]);
    assert_eq!(problem, LoadProblem::MissingTensor { tensor: name("weight_g_idx"), nearest: None });

    for wrong in [3, -1] {
        let mut groups: Vec<i64> = (0..36).map(|input| input % 3).collect();
        groups[5] = wrong;
        let tensors = layer().packed().and("weight_g_idx", Tensor::integers(Dtype::I32, &groups));
        let found = field_problem(&tensors, &config, [10, 36]);
        assert_eq!(found, (format!("{}[5]", name("weight_g_idx")), wrong.to_string()));
    }
}

#[test]
fn a_group_size_that_does_not_divide_the_inputs_is_refused() {
    for size in [10, 24, 72] {
        let config = compressed("pack-quantized", 4, Some(size), false);
        let found = field_problem(&layer().packed(), &config, [10, 36]);
        assert_eq!(found, ("quantization_config.group_size".into(), size.to_string()));
    }
}

#[test]
fn a_layer_that_cannot_be_is_refused() {
    assert_eq!(shape_problem(&layer().int8(), &int8(4), [usize::MAX, 36]).0, name("weight"));
    let found = field_problem(&layer().packed(), &packed(), [0, 36]);
    assert_eq!(found, (format!("width of `{}`", name("weight_packed")), "0".into()));
}

#[test]
fn a_module_that_is_in_no_group_has_no_weight() {
    let mut config = packed();
    config["ignore"] = json!(["re:.*mlp"]);
    assert_eq!(field_problem(&layer().packed(), &config, [10, 36]).0, "quantization_config.config_groups");
}

/// How many bits a layer has, by configuration.
fn bits(config: &Value, module: &str) -> Option<u32> {
    let config = QuantizationConfig::from_json("config.json".as_ref(), &json!({ "quantization_config": config }));
    let Ok(Some(QuantizationConfig::CompressedTensors(config))) = config else { panic!("{config:?}") };
    config.scheme(module).map(|scheme| scheme.bits)
}

#[test]
fn names_come_before_patterns_and_patterns_before_linear() {
    let group = |targets: Value, bits: u32| json!({"targets": targets, "weights": {"num_bits": bits, "strategy": "channel"}, "format": "pack-quantized"});
    let config = json!({
        "quant_method": "compressed-tensors",
        "format": "mixed-precision",
        "config_groups": {
            "a": group(json!(["Linear"]), 4),
            "b": group(json!(["re:.*down_proj$", "model.layers.1.mlp.up_proj"]), 8),
            "c": group(json!(["model.layers.0.mlp.down_proj"]), 4),
            "d": group(json!(["re:.*mlp"]), 4),
        },
        "ignore": ["lm_head", "re:visual", "re:.*gate$", "LlamaRMSNorm"],
    });
    assert_eq!(bits(&config, "model.layers.0.self_attn.q_proj"), Some(4));
    assert_eq!(bits(&config, "model.layers.0.mlp.down_proj"), Some(4));
    assert_eq!(bits(&config, "model.layers.1.mlp.down_proj"), Some(8));
    assert_eq!(bits(&config, "model.layers.1.mlp.up_proj"), Some(8));
    assert_eq!(bits(&config, "lm_head"), None);
    assert_eq!(bits(&config, "model.lm_head"), Some(4));
    // Patterns hold from the start, but not to the end.
    assert_eq!(bits(&config, "visual.blocks.0.proj"), None);
    assert_eq!(bits(&config, "model.visual.proj"), Some(4));
    assert_eq!(bits(&config, "model.layers.0.mlp.gate"), None);
    assert_eq!(bits(&config, "model.layers.0.mlp.gate_proj"), Some(4));
}

#[test]
fn of_groups_that_fit_alike_the_first_in_the_file_counts() {
    let group = |pattern: &str, bits: u32| json!({"targets": [pattern], "weights": {"num_bits": bits, "strategy": "channel"}, "format": "pack-quantized"});
    let mut config = packed();
    config["config_groups"] = json!({"group_2": group("re:.*mlp", 8), "group_10": group("re:.*down_proj", 4)});
    assert_eq!(bits(&config, "model.layers.0.mlp.down_proj"), Some(8));
    config["config_groups"] = json!({"group_2": group("re:.*down_proj", 4), "group_10": group("re:.*mlp", 8)});
    assert_eq!(bits(&config, "model.layers.0.mlp.down_proj"), Some(4));
}

#[test]
fn without_linear_only_the_targets_are_quantised() {
    let mut config = packed();
    config["config_groups"]["group_0"]["targets"] = json!(["re:model[.]layers[.][0-9]+[.]mlp"]);
    assert_eq!(bits(&config, "model.layers.0.mlp.up_proj"), Some(4));
    assert_eq!(bits(&config, "model.layers.0.self_attn.q_proj"), None);
    assert_eq!(bits(&config, "lm_head"), None);
}
