//! Typed access to metadata: what is absent, what has another width, and what has another type.

use gllm_core::{Error, LoadProblem, Result};
use gllm_quant::gguf::Value;

use crate::golden::open;

fn field<T: std::fmt::Debug>(found: Result<T>) -> (String, String, String) {
    match found.expect_err("must be refused") {
        Error::LoadError(error) => {
            assert!(error.path.ends_with("little.gguf"), "{error}");
            match error.problem {
                LoadProblem::Field { field, expected, found } => (field, expected, found),
                other => panic!("{other}"),
            }
        }
        other => panic!("{other}"),
    }
}

#[test]
fn integers_of_any_width_are_accepted_in_range() {
    let file = open("little.gguf");
    let metadata = file.metadata();
    for (of, expected) in [("uint8", 255), ("int8", 127), ("uint16", 65535), ("int16", 32767), ("int32", 2_147_483_647)]
    {
        let key = format!("scalar.{of}.1");
        assert_eq!(metadata.require_usize(&key).expect("in range"), expected, "{key}");
        assert_eq!(metadata.require_u32(&key).expect("in range") as usize, expected, "{key}");
    }
    assert_eq!(metadata.usize("scalar.int64.1").expect("in range"), Some(9_223_372_036_854_775_807));
    assert_eq!(metadata.u32("scalar.uint32.1").expect("in range"), Some(u32::MAX));

    let (key, expected, found) = field(metadata.usize("scalar.int8.0"));
    assert_eq!((key.as_str(), found.as_str()), ("scalar.int8.0", "-128, a INT8"));
    assert!(expected.contains("isn't negative"), "{expected}");
    field(metadata.u32("scalar.int64.1"));
    field(metadata.u32("scalar.uint64.1"));
}

#[test]
fn other_types_are_refused_with_what_was_found() {
    let file = open("little.gguf");
    let metadata = file.metadata();
    let (_, expected, found) = field(metadata.string("scalar.uint32.1"));
    assert_eq!((expected.as_str(), found.as_str()), ("a STRING", "4294967295, a UINT32"));
    let (_, _, found) = field(metadata.usize("scalar.string.1"));
    assert_eq!(found, "\"plain\", a STRING");
    let (_, expected, found) = field(metadata.strings("array.int32.2"));
    assert_eq!((expected.as_str(), found.as_str()), ("an array of STRING", "an array of INT32"));
    field(metadata.usize("scalar.float32.0"));
    field(metadata.usize("scalar.bool.1"));
    field(metadata.f32("scalar.uint32.1"));
    field(metadata.bool("scalar.uint8.0"));
    field(metadata.f32s("array.float64.2"));
    field(metadata.i32s("array.uint32.2"));
    field(metadata.u32s("scalar.uint32.1"));
    field(metadata.strings("scalar.string.1"));
    field(metadata.string("array.string.1"));
}

#[test]
fn absent_keys_are_none_or_an_error_where_they_are_required() {
    let file = open("little.gguf");
    let metadata = file.metadata();
    assert_eq!(metadata.get("none"), None);
    assert_eq!(metadata.string("none").expect("absent"), None);
    assert_eq!(metadata.usize("none").expect("absent"), None);
    assert_eq!(metadata.strings("none").expect("absent"), None);
    let (key, expected, found) = field(metadata.require_string("none"));
    assert_eq!((key.as_str(), expected.as_str(), found.as_str()), ("none", "a STRING", "no such key"));
    field(metadata.require_usize("none"));
    field(metadata.require_u32("none"));
    field(metadata.require_f32("none"));
    field(metadata.require_strings("none"));
    // It is there, but of another type.
    assert_eq!(field(metadata.require_string("scalar.uint8.0")).2, "0, a UINT8");
}

#[test]
fn values_come_as_they_are() {
    let file = open("little.gguf");
    let metadata = file.metadata();
    assert_eq!(metadata.require_string("general.architecture").expect("a string"), "tiny");
    assert_eq!(metadata.require_f32("scalar.float32.0").expect("a float").to_bits(), (-1.5_f32).to_bits());
    assert_eq!(metadata.f32("scalar.float64.1").expect("a float"), Some(f32::NEG_INFINITY));
    assert_eq!(metadata.bool("scalar.bool.1").expect("a bool"), Some(true));
    assert_eq!(metadata.require_strings("array.string.4").expect("strings")[1], "plain");
    assert_eq!(metadata.i32s("array.int32.2").expect("integers"), Some(&[i32::MIN, i32::MAX][..]));
    assert_eq!(metadata.u32s("array.uint32.2").expect("integers"), Some(&[0, u32::MAX][..]));
    assert_eq!(metadata.f32s("array.float32.1").expect("floats"), Some(&[-1.5][..]));
    assert_eq!(metadata.iter().next(), Some(("general.architecture", &Value::String("tiny".into()))));
}

#[test]
fn values_are_shown_short() {
    let file = open("little.gguf");
    let shown = |key: &str| file.metadata().get(key).expect("there").to_string();
    assert_eq!(shown("array.string.4"), "[4 of STRING]");
    assert_eq!(shown("scalar.string.2"), r#""Straße 猫 🐈\n\0""#);
    assert_eq!(shown("scalar.uint64.1"), "18446744073709551615");
    assert_eq!(shown("scalar.float32.0"), "-1.5");
    assert_eq!(shown("scalar.bool.0"), "false");
}
