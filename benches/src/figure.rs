//! Figures as the tables show them.

pub(crate) fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// Three digits, with commas between thousands.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        unknown if unknown.is_nan() => "-".to_owned(),
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        large => {
            let step = 10f64.powi((large.log10().floor() as i32 - 2).max(0));
            let digits = format!("{:.0}", (value / step).round() * step);
            let mut text = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_commas() {
        for (value, text) in [
            (0.1234, "0.12"),
            (12.34, "12.3"),
            (999.4, "999"),
            (1_234_567.0, "1,230,000"),
            (10_000.0, "10,000"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
