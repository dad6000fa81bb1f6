//! The exponential function, the same to the last bit on every platform.
//!
//! The system's own differs from one to the next in the last bit, and with it the draws. This one is sums and products,
//! which IEEE 754 rounds the same everywhere, and a compiler vectorises it.

/// Rounds to an integer when added and taken away: beyond it floats have no fraction. The integer is in its lowest
/// bits then.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts, the first of so few bits that its products with small integers are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Below this `e^x` is taken for 0.
const LOWEST: f32 = -87.0;

/// `e^x` for `x` of 0 or below, within two units in the last place.
pub(super) fn exp(x: f32) -> f32 {
    let inside = if x > LOWEST { x } else { LOWEST };
    // e^x = 2^n · e^r, where |r| is at most ln 2 / 2.
    let shifted = inside * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (inside - n * LN_2_HIGH) - n * LN_2_LOW;
    // The series of e^r; what is left out is below 2^-27.
    let series = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let mantissa = series.into_iter().fold(0.0, |sum, coefficient| sum * r + coefficient);
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x >= LOWEST { mantissa * power } else { 0.0 }
}

/// Sum of `e^(x - maximum)` over `values`, of which `maximum` is the largest.
pub(super) fn sum_exp(values: &[f32], maximum: f32) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    let groups = values.chunks_exact(LANES);
    let rest: f64 = groups.remainder().iter().map(|value| f64::from(exp(value - maximum))).sum();
    for group in groups {
        for (sum, value) in sums.iter_mut().zip(group) {
            *sum += f64::from(exp(value - maximum));
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::{exp, sum_exp};

    #[test]
    fn within_two_units_in_the_last_place() {
        let mut x = 0.0_f32;
        while x > -87.0 {
            let expected = f64::from(x).exp();
            let unit = f64::from((expected as f32).next_up()) - f64::from(expected as f32);
            assert!((f64::from(exp(x)) - expected).abs() <= 2.0 * unit, "{x}: {} {expected}", exp(x));
            x -= 0.000_37;
        }
        assert_eq!(exp(0.0).to_bits(), 1.0_f32.to_bits());
    }

    #[test]
    fn sums_are_those_of_doubles() {
        let values: Vec<f32> = (0..1003_u16).map(|i| -f32::from(i % 97) / 7.0).collect();
        let expected: f64 = values.iter().map(|value| f64::from(*value).exp()).sum();
        assert!((sum_exp(&values, 0.0) - expected).abs() < 1e-7 * expected);
    }

    #[test]
    fn nothing_of_what_is_ruled_out() {
        for x in [f32::NEG_INFINITY, f32::MIN, -87.1] {
            assert_eq!(exp(x).to_bits(), 0, "{x}");
        }
    }
}
