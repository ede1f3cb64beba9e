//! Platforms: what an image is built for.

use std::{fmt, str::FromStr};

/// A system and a processor, and perhaps a variant of it: `linux/amd64`, `linux/arm/v7`.
///
/// ```
/// use portolan::image::Platform;
///
/// let wanted: Platform = "linux/arm".parse()?;
/// assert!(wanted.admits(&"linux/arm/v7".parse()?), "without a variant every one will do");
/// assert!(!wanted.admits(&"linux/arm64".parse()?));
/// # Ok::<(), portolan::image::ParsePlatformError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Platform {
    os: Box<str>,
    architecture: Box<str>,
    variant: Option<Box<str>>,
}

/// Why a text is no platform.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a platform is written as `os/arch` or `os/arch/variant`, such as `linux/amd64`")]
pub struct ParsePlatformError;

impl Platform {
    /// A platform of these parts, as an index or a configuration has them.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self {
            os: os.into(),
            architecture: architecture.into(),
            variant: variant.filter(|variant| !variant.is_empty()).map(Into::into),
        }
    }

    /// Whether an image for `other` is one for this platform. Without a variant every one will do.
    pub fn admits(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || self.variant == other.variant)
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> = text.split('/').collect();
        let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
        if !parts.iter().all(is_word) {
            return Err(ParsePlatformError);
        }
        match *parts {
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(ParsePlatformError),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_has_two_or_three_parts_and_prints_as_it_was_read() {
        for (text, expected) in [
            ("linux/amd64", true),
            ("linux/arm/v7", true),
            ("windows/amd64", true),
            ("linux", false),
            ("linux/", false),
            ("/amd64", false),
            ("linux/arm/v7/x", false),
            ("linux/a b", false),
            ("all", false),
            ("", false),
        ] {
            let parsed = text.parse::<Platform>();
            assert_eq!(parsed.is_ok(), expected, "{text}");
            assert!(parsed.map_or(true, |platform| platform.to_string() == text), "{text}");
        }
    }
}
