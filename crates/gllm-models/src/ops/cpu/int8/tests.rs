//! Products of codes beside exact ones, and every instruction set beside the others.

use super::*;

fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// Rows, inputs, outputs: nothing divides a panel, a tile or a group.
const SIZES: [[usize; 3]; 6] = [[1, 1, 1], [2, 7, 33], [13, 400, 70], [29, 387, 32], [101, 128, 100], [250, 40, 65]];

#[test]
fn products_are_near_and_the_same_on_every_instruction_set_and_row_by_row() {
    for ([rows, inputs, outputs], most) in SIZES.into_iter().zip([GROUP, 40, usize::MAX, 128, 64, 1]) {
        let (weight, bias, x) = (numbers(outputs * inputs, 1), numbers(outputs, 2), numbers(rows * inputs, 3));
        let mut expected: Option<Vec<f32>> = None;
        for isa in Isa::all() {
            let layer = Int8Linear::with(isa, &weight, Some(&bias), inputs, most);
            let found = layer.forward(&x, Then::Nothing, Vec::new());
            for (row, y) in found.chunks(outputs).enumerate() {
                for (output, found) in y.iter().enumerate() {
                    let terms = weight[output * inputs..][..inputs].iter().zip(&x[row * inputs..]);
                    let sum: f64 = terms.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                    let error = (f64::from(*found) - sum - f64::from(bias[output])).abs();
                    assert!(error <= 0.012 * (inputs as f64).sqrt(), "{rows} {inputs} {outputs}: {error}");
                }
            }
            let alone: Vec<f32> = x.chunks(inputs).flat_map(|x| layer.forward(x, Then::Nothing, Vec::new())).collect();
            assert_eq!(alone, found, "{isa:?} {rows} {inputs} {outputs}, row by row");
            assert_eq!(expected.get_or_insert_with(|| found.clone()), &found, "{isa:?} {rows} {inputs} {outputs}");
        }
    }
}

#[test]
fn the_largest_codes_overflow_nowhere_and_whole_numbers_are_exact() {
    let (inputs, outputs) = (3 * GROUP, 34);
    for sign in [1.0, -1.0] {
        let weight = vec![127.0 * sign; outputs * inputs];
        // Codes are the numbers themselves, from 0 to 255.
        let x: Vec<f32> = (0..inputs).map(|i| if i % GROUP == 0 { 0.0 } else { 255.0 }).collect();
        for isa in Isa::all() {
            let y = Int8Linear::with(isa, &weight, None, inputs, GROUP).forward(&x, Then::Nothing, Vec::new());
            let exact = 127.0 * sign * x.iter().sum::<f32>();
            assert!(y.iter().all(|y| (y - exact).abs() <= exact.abs() * 1e-6), "{isa:?}: {y:?}, expected {exact}");
        }
    }
}

#[test]
fn an_input_that_is_far_off_costs_its_own_group_alone() {
    let (inputs, weight) = (2 * GROUP, numbers(2 * GROUP, 8));
    let mut x = numbers(inputs, 9);
    let calm = &x.clone()[GROUP..];
    x[5] = 1e4;
    let mut of_second = weight.clone();
    of_second[..GROUP].fill(0.0);
    let layer = Int8Linear::new(&of_second, None, inputs, GROUP);
    let exact: f64 = calm.iter().zip(&weight[GROUP..]).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
    let found = f64::from(layer.forward(&x, Then::Nothing, Vec::new())[0]);
    assert!((found - exact).abs() <= 0.1, "{found}, expected {exact}");
}

#[test]
fn numbers_that_are_all_the_same_are_exact() {
    let (inputs, weight) = (130, numbers(130, 7));
    for same in [0.0, -3.5, 1e-40, 1e30] {
        let zeros = Int8Linear::new(&vec![1.0; inputs], None, inputs, GROUP).forward(
            &vec![same; inputs],
            Then::Nothing,
            Vec::new(),
        );
        let exact = same * inputs as f32;
        assert!((zeros[0] - exact).abs() <= exact.abs() * 1e-6, "{same}: {zeros:?}");
        let layer = Int8Linear::new(&weight, None, inputs, GROUP);
        assert!(layer.forward(&vec![same; inputs], Then::Nothing, Vec::new())[0].is_finite(), "{same}");
    }
}

#[test]
fn what_is_not_finite_is_not_lost() {
    for isa in Isa::all() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 33, 64] {
                let (mut x, mut weight) = ([1.0; 65], [1.0; 65]);
                x[place] = bad;
                let y = Int8Linear::with(isa, &weight, None, 65, GROUP).forward(&x, Then::Nothing, Vec::new());
                assert!(!y[0].is_finite(), "{isa:?} {bad} at {place}");
                weight[place] = bad;
                let y = Int8Linear::with(isa, &weight, None, 65, GROUP).forward(&[1.0; 65], Then::Nothing, Vec::new());
                assert!(!y[0].is_finite(), "{isa:?} {bad} as weight {place}");
            }
        }
    }
}

#[test]
fn layers_at_once_are_as_those_one_after_the_other() {
    // Neither a panel, nor a group of the second layer's inputs, nor a tile is whole.
    for [rows, inputs, between, outputs] in [[1, 5, 3, 2], [13, 130, 150, 33], [29, 128, 256, 64], [50, 40, 77, 70]] {
        let x = numbers(rows * inputs, 1);
        let mut expected: Option<Vec<f32>> = None;
        for isa in Isa::all() {
            let up = Int8Linear::with(isa, &numbers(between * inputs, 2), Some(&numbers(between, 3)), inputs, GROUP);
            let down =
                Int8Linear::with(isa, &numbers(outputs * between, 4), Some(&numbers(outputs, 5)), between, GROUP);
            let apart = down.forward(&up.forward(&x, Then::Gelu, Vec::new()), Then::Nothing, Vec::new());
            let mut found = vec![f32::NAN; rows * outputs];
            down.part_through(&up, Then::Gelu, &x, Part::whole(&mut found, outputs));
            assert_eq!(found, apart, "{isa:?} {rows} {inputs} {between} {outputs}");
            assert_eq!(expected.get_or_insert_with(|| apart.clone()), &apart, "{isa:?}");
        }
    }
}

#[test]
fn gelu_is_as_exact_as_8_bits_need() {
    let exact = |mut x: Vec<f32>| {
        crate::ops::cpu::map::map(&mut x, Then::Gelu);
        x
    };
    let x: Vec<f32> = (-8000..=8000).map(|i| i as f32 * 1e-3).chain([-1e3, 1e3, 1e30]).collect();
    for (&x, exact) in x.iter().zip(exact(x.clone())) {
        let found = Scalar.to_array(apply(Scalar, [x; LANES], Then::Gelu))[0];
        assert!((found - exact).abs() <= 2e-4 + 2e-6 * x.abs(), "{x}: {found}, expected {exact}");
    }
    let not_finite = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let of = |x: f32| apply(Scalar, [x; LANES], Then::Gelu)[0];
    assert!(not_finite.iter().all(|x| !of(*x).is_finite()), "{:?}", not_finite.map(of));
}
