//! Numbers for people: three significant digits.
//!
//! Not here: units, tables (`table`), pages (`html`).

/// Three significant digits, without an exponent: `0.0123`, `1.23`, `12.3`, `123`, `123456`.
pub fn digits(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor() as i32;
    let places = usize::try_from(2 - magnitude).unwrap_or(0).min(9);
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (0.012_345, "0.0123"),
            (1.0, "1.00"),
            (-12.34, "-12.3"),
            (123.4, "123"),
            (123_456.0, "123456"),
            (1e-30, "0.000000000"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(digits(value), expected);
        }
    }
}
