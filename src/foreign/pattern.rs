//! Regular expressions that say no more than how a text begins: what a table can say of them.
//!
//! Literals, alternatives and what is optional are written out; `.*` is understood at the end alone. Everything else is
//! none of ours, and whoever asks says so. A dot that is not escaped is taken for a dot.

/// How the texts of a pattern begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Pattern {
    /// The beginnings; a text has one of them.
    pub(super) beginnings: Vec<String>,
    /// What follows.
    pub(super) end: End,
    /// How many groups it captures.
    pub(super) groups: usize,
}

/// What follows the beginning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// Anything, or nothing.
    Anything,
    /// Anything, which is captured as the last group.
    Captured,
    /// Nothing.
    Nothing,
}

impl Pattern {
    /// Reads a pattern that begins at the beginning (`^`); without it the pattern may match anywhere.
    pub(super) fn read(pattern: &str) -> Option<Self> {
        let mut reader = Reader { rest: pattern.strip_prefix('^')?, groups: 0 };
        let mut beginnings = vec![String::new()];
        let end = loop {
            if reader.rest.is_empty() {
                break End::Anything;
            }
            if reader.rest == "$" {
                break End::Nothing;
            }
            if let Some(end) = reader.end() {
                break end;
            }
            let piece = reader.piece()?;
            beginnings = joined(&beginnings, &piece)?;
        };
        Some(Self { beginnings, end, groups: reader.groups })
    }
}

struct Reader<'p> {
    rest: &'p str,
    groups: usize,
}

impl Reader<'_> {
    /// `.*` and the like, if nothing follows them.
    fn end(&mut self) -> Option<End> {
        let rest = self.rest.strip_suffix('$').unwrap_or(self.rest);
        match rest {
            ".*" | ".+" | "(?:.*)" | "(?:.+)" => Some(End::Anything),
            "(.*)" | "(.+)" => {
                self.groups += 1;
                Some(End::Captured)
            }
            _ => None,
        }
    }

    /// A character, or a group of alternatives; each of them may be optional.
    fn piece(&mut self) -> Option<Vec<String>> {
        let mut piece = match self.next()? {
            '(' => {
                match self.rest.strip_prefix("?:") {
                    Some(rest) => self.rest = rest,
                    None => self.groups += 1,
                }
                self.alternatives()?
            }
            first => vec![self.literal(first)?.to_string()],
        };
        match self.rest.chars().next() {
            Some('?') => {
                self.next();
                piece.push(String::new());
            }
            Some('*' | '+' | '{') => return None,
            _ => {}
        }
        Some(piece)
    }

    /// Behind `(`, up to its `)`.
    fn alternatives(&mut self) -> Option<Vec<String>> {
        let mut all = Vec::new();
        let mut current = String::new();
        loop {
            match self.next()? {
                ')' => {
                    all.push(current);
                    return (all.len() <= MOST).then_some(all);
                }
                '|' => all.push(std::mem::take(&mut current)),
                first => {
                    current.push(self.literal(first)?);
                    if self.rest.starts_with(['?', '*', '+', '{']) {
                        return None;
                    }
                }
            }
        }
    }

    fn literal(&mut self, first: char) -> Option<char> {
        match first {
            '\\' => self.next().filter(|escaped| !escaped.is_ascii_alphanumeric()),
            '[' | ']' | '(' | ')' | '{' | '}' | '|' | '?' | '*' | '+' | '^' | '$' => None,
            _ => Some(first),
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }
}

fn joined(beginnings: &[String], piece: &[String]) -> Option<Vec<String>> {
    let mut all = Vec::with_capacity(beginnings.len() * piece.len());
    for beginning in beginnings {
        for part in piece {
            let text = format!("{beginning}{part}");
            if !all.contains(&text) {
                all.push(text);
            }
        }
    }
    (all.len() <= MOST).then_some(all)
}

/// How many beginnings a pattern may have.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_how_its_texts_begin() {
        for (pattern, beginnings, end) in [
            ("^docker.io", &["docker.io"][..], End::Anything),
            (r"^docker\.io/", &["docker.io/"], End::Anything),
            ("^rancher/(.*)", &["rancher/"], End::Captured),
            ("^rancher/(.+)$", &["rancher/"], End::Captured),
            ("^a/.*$", &["a/"], End::Anything),
            ("^a$", &["a"], End::Nothing),
            ("^(.*)$", &[""], End::Captured),
            (
                "^docker.io/(library/)?ubuntu:.*$",
                &["docker.io/library/ubuntu:", "docker.io/ubuntu:"],
                End::Anything,
            ),
            ("^(?:quay|gcr).io/x?y", &["quay.io/xy", "quay.io/y", "gcr.io/xy", "gcr.io/y"], End::Anything),
        ] {
            let read = Pattern::read(pattern).unwrap();
            assert_eq!(
                (&*read.beginnings, read.end),
                (&*beginnings.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), end),
                "{pattern}"
            );
        }
        for pattern in [
            "docker.io",
            "^a*b",
            "^[ab]",
            r"^\d",
            "^a.*b",
            "^(a",
            "^(a(b))",
            "^a{2}",
            "^a|b",
            "^(a+)b",
            r"^a\",
        ] {
            assert_eq!(Pattern::read(pattern), None, "{pattern}");
        }
        let many = format!("^{}", "(a|b)".repeat(10));
        assert_eq!(Pattern::read(&many), None);
    }
}
