//! Configurations: those that the projects write, those that are refused by name, and those that make no sense.

use gllm_core::{Error, LoadProblem};
use gllm_quant::gptq::GptqFormat;
use gllm_quant::{GroupSize, QuantizationConfig};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::layers::{awq, compressed, gptq};

fn read(config: &Value) -> gllm_core::Result<Option<QuantizationConfig>> {
    QuantizationConfig::from_json("m/config.json".as_ref(), &json!({ "quantization_config": config }))
}

fn problem(config: &Value) -> LoadProblem {
    match read(config).expect_err("must be refused") {
        Error::LoadError(error) => {
            assert_eq!(error.path.to_str(), Some("m/config.json"));
            error.problem
        }
        other => panic!("{other}"),
    }
}

/// `config` with fields, at paths such as `/config_groups/group_0/format`, set to other values.
fn with(mut config: Value, fields: &[(&str, Value)]) -> Value {
    for (path, value) in fields {
        let (object, name) = path.rsplit_once('/').expect("a path");
        config.pointer_mut(object).expect("there")[name] = value.clone();
    }
    config
}

fn base(method: &str) -> Value {
    match method {
        "awq" => awq(32),
        "gptq" => gptq(4, 32, "gptq"),
        _ => compressed("pack-quantized", 4, Some(32), true),
    }
}

const WEIGHTS: &str = "/config_groups/group_0/weights";

#[test]
fn a_model_that_is_not_quantised_has_no_configuration() {
    for json in ["{}", r#"{"quantization_config": null}"#, r#"{"quantization_config": {}}"#] {
        assert_eq!(QuantizationConfig::parse("config.json".as_ref(), json).expect("valid"), None);
    }
}

#[test]
fn what_is_not_json_is_corrupt() {
    for json in ["", "{", "[1,", "\u{0}"] {
        let error = QuantizationConfig::parse("config.json".as_ref(), json).expect_err("no JSON");
        assert!(matches!(error, Error::LoadError(e) if matches!(e.problem, LoadProblem::Corrupt { .. })));
    }
}

#[test]
fn awq_is_read_as_autoawq_and_transformers_write_it() {
    let json = json!({"quant_method": "awq", "zero_point": true, "q_group_size": 64, "w_bit": 4, "version": "GEMM"});
    let Ok(Some(QuantizationConfig::Awq(config))) = read(&json) else { panic!("{json}") };
    assert_eq!((config.group_size, config.modules_to_not_convert.len()), (GroupSize::Inputs(64), 0));

    let json = with(json, &[("/group_size", (-1).into()), ("/modules_to_not_convert", json!(["visual", "gate"]))]);
    let Ok(Some(QuantizationConfig::Awq(config))) = read(&json) else { panic!("{json}") };
    assert_eq!(
        (config.group_size, config.modules_to_not_convert),
        (GroupSize::WholeRow, vec!["visual".into(), "gate".into()])
    );
}

#[test]
fn gptq_is_read_as_autogptq_and_gptqmodel_write_it() {
    let json = json!({
        "bits": 8, "group_size": -1, "damp_percent": 0.1, "desc_act": true, "static_groups": false, "sym": true,
        "true_sequential": true, "is_marlin_format": false, "model_name_or_path": null, "quant_method": "gptq",
    });
    let Ok(Some(QuantizationConfig::Gptq(config))) = read(&json) else { panic!("{json}") };
    assert_eq!((config.bits, config.group_size, config.desc_act), (8, GroupSize::WholeRow, true));
    assert_eq!((config.format, config.lm_head), (GptqFormat::V1, false));

    let json = json!({
        "bits": 4, "checkpoint_format": "gptq_v2", "group_size": 128, "lm_head": true, "meta": {"quantizer": ["gptqmodel:1.4.0"]},
        "pack_dtype": "int32", "dynamic": {}, "quant_method": "gptq", "sym": false,
    });
    let Ok(Some(QuantizationConfig::Gptq(config))) = read(&json) else { panic!("{json}") };
    assert_eq!((config.bits, config.group_size, config.desc_act), (4, GroupSize::Inputs(128), false));
    assert_eq!((config.format, config.lm_head), (GptqFormat::V2, true));
}

#[test]
fn compressed_tensors_is_read_from_its_first_field_too() {
    let json = json!({"compression_config": base("compressed-tensors")}).to_string();
    let config = QuantizationConfig::parse("config.json".as_ref(), &json).expect("valid").expect("quantised");
    assert!(config.is_quantized("model.layers.0.mlp.up_proj"));
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let scheme = |field: &str| format!("{WEIGHTS}/{field}");
    let cases: Vec<(&str, String, Value)> = vec![
        ("awq", "/quant_method".into(), json!("bitsandbytes")),
        ("awq", "/quant_method".into(), json!("fp8")),
        ("awq", "/version".into(), json!("gemv")),
        ("awq", "/version".into(), json!("gemv_fast")),
        ("awq", "/version".into(), json!("marlin")),
        ("awq", "/version".into(), json!("exllama")),
        ("awq", "/format".into(), json!("llm-awq")),
        ("awq", "/backend".into(), json!("llm-awq")),
        ("awq", "/bits".into(), json!(3)),
        ("awq", "/w_bit".into(), json!(8)),
        ("awq", "/zero_point".into(), json!(false)),
        ("gptq", "/bits".into(), json!(2)),
        ("gptq", "/bits".into(), json!(3)),
        ("gptq", "/checkpoint_format".into(), json!("marlin")),
        ("gptq", "/format".into(), json!("bitblas")),
        ("gptq", "/is_marlin_format".into(), json!(true)),
        ("gptq", "/pack_dtype".into(), json!("int16")),
        ("gptq", "/dynamic".into(), json!({"-:.*down_proj": {}})),
        ("compressed-tensors", "/format".into(), json!("float-quantized")),
        ("compressed-tensors", "/format".into(), json!("marlin-24")),
        ("compressed-tensors", "/config_groups/group_0/format".into(), json!("nvfp4-pack-quantized")),
        ("compressed-tensors", "/transform_config".into(), json!({"config_groups": {"R1": {}}})),
        ("compressed-tensors", "/sparsity_config".into(), json!({"format": "sparse-24-bitmask"})),
        ("compressed-tensors", "/ignore".into(), json!(["re:(?!lm_head).*"])),
        ("compressed-tensors", "/ignore".into(), json!([r"re:\w{999}"])),
        ("compressed-tensors", "/ignore".into(), json!(vec!["re:lm_head"; 65])),
        ("compressed-tensors", scheme("type"), json!("float")),
        ("compressed-tensors", scheme("num_bits"), json!(6)),
        ("compressed-tensors", scheme("strategy"), json!("block")),
        ("compressed-tensors", scheme("dynamic"), json!(true)),
        ("compressed-tensors", scheme("actorder"), json!("row")),
    ];
    for (method, path, value) in cases {
        let problem = problem(&with(base(method), &[(&path, value.clone())]));
        let LoadProblem::Unsupported { what, found, .. } = &problem else { panic!("{path}: {problem}") };
        assert_eq!(*what, format!("quantization_config{}", path.replace('/', ".")));
        let text = value.as_array().map_or(&value, |list| &list[0]);
        assert_eq!(*found, text.as_str().map_or_else(|| text.to_string(), str::to_owned), "{problem}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_field() {
    let scheme = |field: &str| format!("{WEIGHTS}/{field}");
    let cases: Vec<(&str, String, Value)> = vec![
        ("awq", "/quant_method".into(), Value::Null),
        ("awq", "/quant_method".into(), json!(4)),
        ("awq", "/group_size".into(), json!(0)),
        ("awq", "/group_size".into(), json!(-2)),
        ("awq", "/group_size".into(), json!("128")),
        ("awq", "/group_size".into(), json!(1.5)),
        ("awq", "/group_size".into(), json!(u64::MAX)),
        ("awq", "/bits".into(), json!("4")),
        ("awq", "/version".into(), json!(1)),
        ("awq", "/zero_point".into(), json!("yes")),
        ("awq", "/modules_to_not_convert".into(), json!("lm_head")),
        ("awq", "/modules_to_not_convert".into(), json!([1])),
        ("gptq", "/bits".into(), Value::Null),
        ("gptq", "/group_size".into(), Value::Null),
        ("gptq", "/group_size".into(), json!(0)),
        ("gptq", "/desc_act".into(), json!("true")),
        ("gptq", "/modules_in_block_to_quantize".into(), json!(["q_proj"])),
        ("gptq", "/modules_in_block_to_quantize".into(), json!([[1]])),
        ("compressed-tensors", "/config_groups".into(), Value::Null),
        ("compressed-tensors", "/config_groups".into(), json!({})),
        ("compressed-tensors", "/config_groups".into(), json!([])),
        ("compressed-tensors", "/config_groups/group_0".into(), json!(["Linear"])),
        ("compressed-tensors", "/config_groups/group_0/targets".into(), json!([])),
        ("compressed-tensors", WEIGHTS.into(), Value::Null),
        ("compressed-tensors", "/format".into(), Value::Null),
        ("compressed-tensors", "/ignore".into(), json!("lm_head")),
        ("compressed-tensors", scheme("group_size"), json!(0)),
        ("compressed-tensors", scheme("group_size"), json!(-1)),
        ("compressed-tensors", scheme("symmetric"), json!(1)),
        ("compressed-tensors", scheme("actorder"), json!(1)),
    ];
    for (method, path, value) in cases {
        let problem = problem(&with(base(method), &[(&path, value)]));
        let LoadProblem::Field { field, .. } = &problem else { panic!("{path}: {problem}") };
        assert_eq!(*field, format!("quantization_config{}", path.replace('/', ".")));
    }
}

#[test]
fn a_long_value_is_not_in_the_message_whole() {
    let problem = problem(&with(awq(32), &[("/version", "é".repeat(100_000).into())])).to_string();
    assert!(problem.contains("version") && problem.len() < 500, "{}", problem.len());
}

#[test]
fn a_strategy_follows_from_the_group_size() {
    let strategy = format!("{WEIGHTS}/strategy");
    let size = format!("{WEIGHTS}/group_size");
    let config = |value: Value| with(base("compressed-tensors"), &[(&strategy, Value::Null), (&size, value)]);
    for (value, expected) in [(json!(64), GroupSize::Inputs(64)), (json!(-1), GroupSize::WholeRow)] {
        let Ok(Some(QuantizationConfig::CompressedTensors(config))) = read(&config(value)) else {
            panic!("{expected:?}")
        };
        assert_eq!(config.scheme("0").expect("quantised").group_size, expected);
    }
    assert!(matches!(problem(&config(Value::Null)), LoadProblem::Unsupported { .. }));
}

#[test]
fn awq_and_gptq_quantise_the_blocks() {
    let awq = with(awq(32), &[("/modules_to_not_convert", json!(["gate.", "visual"]))]);
    let listed =
        with(gptq(4, 32, "gptq"), &[("/modules_in_block_to_quantize", json!([["self_attn.q_proj"], ["gate."]]))]);
    let head = with(gptq(4, 32, "gptq"), &[("/lm_head", true.into())]);
    let rows = [
        // module, then whether it is quantised by: awq, gptq, gptq with a list, gptq with its head
        ("model.layers.0.self_attn.q_proj", [true, true, true, true]),
        ("model.layers.11.mlp.down_proj", [true, true, false, true]),
        ("model.layers.0.mlp.gate.up", [false, true, false, true]),
        ("visual.blocks.0.proj", [false, true, false, true]),
        ("lm_head", [false, false, false, true]),
        ("classifier.dense", [false, false, false, false]),
    ];
    let configs = [awq, gptq(4, 32, "gptq"), listed, head];
    for (module, expected) in rows {
        for (config, expected) in configs.iter().zip(expected) {
            let config = read(config).expect("supported").expect("quantised");
            assert_eq!(config.is_quantized(module), expected, "{module} {config:?}");
        }
    }
}

#[test]
fn only_ordered_groups_need_an_order() {
    let path = format!("{WEIGHTS}/actorder");
    let cases = [
        (Value::Null, false),
        (json!(false), false),
        (json!("weight"), false),
        (json!("static"), false),
        (json!(true), true),
        (json!("group"), true),
        (json!("dynamic"), true),
    ];
    for (value, expected) in cases {
        let json = with(base("compressed-tensors"), &[(&path, value)]);
        let Ok(Some(QuantizationConfig::CompressedTensors(config))) = read(&json) else { panic!("{json}") };
        assert_eq!(config.scheme("0").expect("quantised").act_order, expected, "{json}");
    }
}

/// JSON values, many of them fields that mean something.
fn values() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "quant_method",
        "bits",
        "w_bit",
        "group_size",
        "version",
        "format",
        "config_groups",
        "group_0",
        "weights",
        "targets",
        "ignore",
        "num_bits",
        "strategy",
        "symmetric",
        "awq",
        "gptq",
        "compressed-tensors",
        "pack-quantized",
        "channel",
        "group",
        "Linear",
        "re:(",
        "modules_to_not_convert",
        "modules_in_block_to_quantize",
        "dynamic",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2..130_i64).prop_map(Value::from),
        names.clone().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_configuration_panics(value in values(), method in prop::sample::select(vec!["awq", "gptq", "compressed-tensors"])) {
        let mut value = value;
        if let Value::Object(fields) = &mut value {
            fields.insert("quant_method".into(), method.into());
        }
        if let Ok(Some(config)) = read(&value) {
            std::hint::black_box(config.is_quantized("model.layers.0.mlp.up_proj"));
        }
    }
}
