//! AWQ and GPTQ layers that aren't what their configuration says: each an error that names the tensor or the field.

use gllm_core::LoadProblem;
use safetensors::Dtype;
use serde_json::Value;

use crate::layers::{Layer, MODULE, Tensor, Tensors, awq, gptq};

/// 16 outputs, 64 inputs, two groups.
fn layer() -> Layer {
    Layer::new(16, 2, 32, 4, 1)
}

/// Checks that reading fails because of a shape, and returns the tensor's name and what was expected.
pub(crate) fn shape_problem(tensors: &Tensors, config: &Value, shape: [usize; 2]) -> (String, Vec<usize>) {
    match tensors.problem(config, shape) {
        LoadProblem::Shape { tensor, expected, .. } => (tensor, expected),
        other => panic!("{other}"),
    }
}

/// Checks that reading fails because of a value, and returns the field and what was found.
pub(crate) fn field_problem(tensors: &Tensors, config: &Value, shape: [usize; 2]) -> (String, String) {
    match tensors.problem(config, shape) {
        LoadProblem::Field { field, found, .. } => (field, found),
        other => panic!("{other}"),
    }
}

pub(crate) fn name(tensor: &str) -> String {
    format!("{MODULE}.{tensor}")
}

#[test]
fn a_missing_tensor_is_named() {
    let cases = [(layer().awq(), awq(32)), (layer().gptq(0), gptq(4, 32, "gptq_v2"))];
    for (tensors, config) in cases {
        for tensor in ["qweight", "qzeros", "scales"] {
            let problem = tensors.clone().without(tensor).problem(&config, [16, 64]);
            assert_eq!(problem, LoadProblem::MissingTensor { tensor: name(tensor), nearest: None });
        }
    }
}

#[test]
fn a_tensor_of_another_shape_is_refused() {
    for (tensor, dtype, expected) in
        [("qweight", Dtype::I32, [64, 2]), ("qzeros", Dtype::I32, [2, 2]), ("scales", Dtype::F16, [2, 16])]
    {
        let tensors = layer().awq().with(tensor, Tensor::blank(dtype, &[3, 5]));
        assert_eq!(shape_problem(&tensors, &awq(32), [16, 64]), (name(tensor), expected.to_vec()));
    }
    for (tensor, dtype, expected) in
        [("qweight", Dtype::I32, [8, 16]), ("qzeros", Dtype::I32, [2, 2]), ("scales", Dtype::F16, [2, 16])]
    {
        let tensors = layer().gptq(0).with(tensor, Tensor::blank(dtype, &[3, 5]));
        assert_eq!(shape_problem(&tensors, &gptq(4, 32, "gptq"), [16, 64]), (name(tensor), expected.to_vec()));
    }
}

#[test]
fn a_layer_of_another_width_is_refused() {
    let tensors = layer().awq();
    assert_eq!(shape_problem(&tensors, &awq(32), [24, 64]), (name("qweight"), vec![64, 3]));
    assert_eq!(shape_problem(&tensors, &awq(32), [16, 96]), (name("qweight"), vec![96, 2]));
    let tensors = layer().gptq(0);
    assert_eq!(shape_problem(&tensors, &gptq(4, 32, "gptq"), [24, 64]), (name("qweight"), vec![8, 24]));
    // As many bits, but not as many codes.
    assert_eq!(shape_problem(&tensors, &gptq(8, 32, "gptq"), [16, 64]), (name("qweight"), vec![16, 16]));
}

#[test]
fn a_tensor_of_another_type_is_refused() {
    let cases = [
        ("qweight", Tensor::blank(Dtype::F32, &[64, 2]), "I32", "F32"),
        ("qzeros", Tensor::blank(Dtype::I64, &[2, 2]), "I32", "I64"),
        ("scales", Tensor::blank(Dtype::I16, &[2, 16]), "F16, BF16, F32", "I16"),
    ];
    for (tensor, wrong, expected, found) in cases {
        let problem = layer().awq().with(tensor, wrong).problem(&awq(32), [16, 64]);
        let (expected, found) = (expected.into(), found.into());
        assert_eq!(problem, LoadProblem::DType { tensor: name(tensor), expected, found });
    }
}

#[test]
fn a_group_size_that_does_not_divide_the_inputs_is_refused() {
    for size in [48, 128, i64::MAX] {
        for (tensors, config) in [(layer().awq(), awq(size)), (layer().gptq(0), gptq(4, size, "gptq"))] {
            let found = field_problem(&tensors, &config, [16, 64]);
            assert_eq!(found, ("quantization_config.group_size".into(), size.to_string()));
        }
    }
}

#[test]
fn groups_of_another_size_than_configured_are_refused() {
    assert_eq!(shape_problem(&layer().awq(), &awq(16), [16, 64]), (name("qzeros"), vec![4, 2]));
    assert_eq!(shape_problem(&layer().awq(), &awq(-1), [16, 64]), (name("qzeros"), vec![1, 2]));
    let scales = layer().awq().with("scales", Tensor::blank(Dtype::F16, &[1, 16]));
    assert_eq!(shape_problem(&scales, &awq(32), [16, 64]), (name("scales"), vec![2, 16]));
}

#[test]
fn widths_that_do_not_fill_words_are_refused() {
    let tensors = layer().awq();
    assert_eq!(field_problem(&tensors, &awq(32), [20, 64]), (format!("outputs of `{}`", name("qweight")), "20".into()));
    let (tensors, config) = (layer().gptq(0), gptq(4, -1, "gptq"));
    assert_eq!(field_problem(&tensors, &config, [20, 64]), (format!("outputs of `{}`", name("qweight")), "20".into()));
    assert_eq!(field_problem(&tensors, &config, [16, 60]), (format!("inputs of `{}`", name("qweight")), "60".into()));
}

#[test]
fn a_layer_without_width_is_refused() {
    for shape in [[0, 64], [16, 0], [0, usize::MAX], [usize::MAX, 0]] {
        let found = field_problem(&layer().awq(), &awq(-1), shape);
        assert_eq!(found, (format!("width of `{}`", name("qweight")), "0".into()), "{shape:?}");
    }
}

#[test]
fn a_width_that_cannot_be_is_refused() {
    let huge = usize::MAX - 7;
    assert_eq!(shape_problem(&layer().awq(), &awq(-1), [huge, huge]).0, name("qweight"));
    assert_eq!(shape_problem(&layer().gptq(0), &gptq(4, -1, "gptq"), [huge, huge]).0, name("qweight"));
}

#[test]
fn desc_act_needs_g_idx() {
    let mut config = gptq(4, 32, "gptq_v2");
    config["desc_act"] = true.into();
    let problem = layer().gptq(0).without("g_idx").problem(&config, [16, 64]);
    assert_eq!(problem, LoadProblem::MissingTensor { tensor: name("g_idx"), nearest: None });
}

#[test]
fn a_group_that_is_not_there_is_refused() {
    for wrong in [2, -1, i64::from(i32::MIN), i64::from(i32::MAX)] {
        let mut groups: Vec<i64> = (0..64).map(|input| input / 32).collect();
        groups[40] = wrong;
        let tensors = layer().gptq(0).with("g_idx", Tensor::integers(Dtype::I32, &groups));
        let found = field_problem(&tensors, &gptq(4, 32, "gptq"), [16, 64]);
        assert_eq!(found, (format!("{}[40]", name("g_idx")), wrong.to_string()));
    }
}

#[test]
fn groups_of_uneven_sizes_are_refused() {
    let groups: Vec<i64> = (0..64).map(|input| i64::from(input >= 31)).collect();
    let tensors = layer().gptq(0).with("g_idx", Tensor::integers(Dtype::I32, &groups));
    let found = field_problem(&tensors, &gptq(4, 32, "gptq"), [16, 64]);
    assert_eq!(found, (format!("group 0 of {}", name("g_idx")), "31".into()));
}

#[test]
fn a_g_idx_of_another_length_or_type_is_refused() {
    let config = gptq(4, 32, "gptq");
    let tensors = layer().gptq(0).with("g_idx", Tensor::blank(Dtype::I32, &[63]));
    assert_eq!(shape_problem(&tensors, &config, [16, 64]), (name("g_idx"), vec![64]));
    let problem = layer().gptq(0).with("g_idx", Tensor::blank(Dtype::I64, &[64])).problem(&config, [16, 64]);
    assert!(matches!(problem, LoadProblem::DType { tensor, .. } if tensor == name("g_idx")));
}
