//! What a scalar without quotes stands for, by the rules of YAML 1.1 that kubectl goes by.
//!
//! `yes` and `on` are true, `0777` is octal, and what looks like a number that none can hold (`1234e567`, as a commit's
//! hash may) is a text.

use super::value::Kind;

/// A number that JSON can have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Real(f64),
    Whole(i128),
}

/// The value of a plain scalar.
pub(super) fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Kind::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            Kind::Bool(false)
        }
        _ if number(text).is_some() => Kind::Number(text.into()),
        _ => Kind::Text(text.into()),
    }
}

/// The number that a plain scalar stands for.
pub(super) fn number(text: &str) -> Option<Number> {
    let first = text.bytes().next()?;
    if !first.is_ascii_digit() && !matches!(first, b'+' | b'-' | b'.') {
        return None;
    }
    whole(text).map(Number::Whole).or_else(|| real(text).map(Number::Real))
}

fn whole(text: &str) -> Option<i128> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let (radix, digits) = match digits.split_at_checked(2) {
        Some(("0x" | "0X", digits)) => (16, digits),
        Some(("0o" | "0O", digits)) => (8, digits),
        Some(("0b" | "0B", digits)) => (2, digits),
        _ => match digits.strip_prefix('0') {
            Some(octal) if !octal.is_empty() => (8, octal),
            _ => (10, digits),
        },
    };
    // A second sign is no digit.
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    let value = sign * i128::from(value);
    (value >= i128::from(i64::MIN)).then_some(value)
}

fn real(text: &str) -> Option<f64> {
    // JSON has no infinity, and kubectl takes such a scalar for a text.
    text.parse().ok().filter(|value: &f64| value.is_finite())
}
