//! `gllm similarity`.

use crate::harness::{Home, MODEL};

fn run(args: &[&str]) -> crate::harness::Run {
    Home::new().run(&[&["similarity", "--model", MODEL, "--device", "cpu"], args].concat())
}

#[test]
fn json_is_a_symmetric_matrix_with_ones_on_the_diagonal() {
    let answer = run(&["--json", "the man", "a state", "the man"]).json();
    assert_eq!(answer["model"], MODEL);
    assert_eq!(answer["texts"][1], "a state");
    let cosine = |row: usize, column: usize| answer["similarity"][row][column].as_f64().expect("a number");
    for row in 0..3 {
        assert!((cosine(row, row) - 1.0).abs() < 1e-9);
        for column in 0..3 {
            assert!((cosine(row, column) - cosine(column, row)).abs() < 1e-12);
        }
    }
    assert!((cosine(0, 2) - 1.0).abs() < 1e-6 && cosine(0, 1) < 0.999);
}

#[test]
fn table_has_a_row_for_each_text() {
    let run = run(&["the man", "a\nstate"]);
    let lines: Vec<_> = run.text().lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].starts_with("1  1.000") && lines[1].ends_with("  the man"), "{}", lines[1]);
    assert!(lines[2].ends_with("  a state"), "{}", lines[2]);
}

#[test]
fn one_text_is_not_enough() {
    run(&["alone"]).error(2);
}
