//! Durations as flags write them: `2s`, `500ms`, `10m`, `7d`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Reads a duration; a day has 24 hours.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let remedy = || format!("`{text}` is no duration; write it as in `2s`, `500ms`, `10m` or `7d`");
    let span: Span = text.parse().map_err(|_| remedy())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| remedy())?;
    Duration::try_from(duration).map_err(|_| remedy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units_and_nothing_else_is() {
        for (text, expected) in [
            ("2s", Some(Duration::from_secs(2))),
            ("500ms", Some(Duration::from_millis(500))),
            ("10m", Some(Duration::from_secs(600))),
            ("1h30m", Some(Duration::from_secs(5400))),
            ("7d", Some(Duration::from_secs(7 * 24 * 3600))),
            ("2", None),
            ("-2s", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(parse_duration(text).ok(), expected, "{text}");
        }
    }
}
