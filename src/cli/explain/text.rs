//! Rows and Pods as text for people: aligned, and the same without colour.

use std::time::Duration;

use super::{
    pods::PodRow,
    row::{ConsideredRow, MirrorRow, Row},
};
use crate::cli::printer::{Palette, Tone, plain};

/// An image's block of lines.
pub(super) fn image(row: &Row, palette: Palette) -> Vec<String> {
    let heading = match &row.place {
        Some(place) => format!("{}: {}", plain(place), plain(&row.written)),
        None => plain(&row.written),
    };
    let mut lines = vec![palette.paint(Tone::Strong, &heading)];
    let tone = match row.outcome {
        "denied" => Tone::Bad,
        _ if !row.is_as_asked => Tone::Doubtful,
        "rewritten" => Tone::Good,
        _ => Tone::Plain,
    };
    lines.push(format!("  {} ({})", palette.paint(tone, row.outcome), row.reason));
    let rule = row.rule.as_ref().map(|rule| match row.rule_line {
        Some(line) => format!("{rule} (line {line})"),
        None => rule.clone(),
    });
    for (name, value) in [
        ("result", row.result.as_deref()),
        ("reference", row.reference.as_deref()),
        ("rule", rule.as_deref()),
        ("mirror", row.mirror.as_deref()),
        ("digest", row.digest.as_deref()),
        ("known from", row.resolved_from),
    ] {
        if let Some(value) = value {
            lines.push(named(name, &plain(value)));
        }
    }
    list(&mut lines, "mirrors", row.mirrors.iter().map(|row| mirror(row, palette)));
    list(&mut lines, "considered", row.considered.iter().map(|row| considered(row, palette)));
    lines
}

/// A Pod's block of lines.
pub(super) fn pod(pod: &PodRow, palette: Palette) -> Vec<String> {
    let heading = format!("{} {} in {}", plain(&pod.kind), plain(&pod.name), plain(&pod.namespace));
    let mut lines = vec![palette.paint(Tone::Strong, &heading)];
    for row in &pod.images {
        lines.extend(image(row, palette).into_iter().map(|line| format!("  {line}")));
    }
    if let Some(denied) = &pod.denied {
        lines.push(named("denied", &palette.paint(Tone::Bad, &plain(denied))));
    }
    list(&mut lines, "warnings", pod.warnings.iter().map(|warning| (plain(warning), String::new())));
    list(&mut lines, "secrets", pod.pull_secrets.iter().map(|secret| (plain(secret), "added".to_owned())));
    let operation = |operation: &serde_json::Value| {
        let text = |key| operation.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        let value = match operation.get("value") {
            None => String::new(),
            Some(serde_json::Value::String(text)) => plain(text),
            Some(value) => plain(&value.to_string()),
        };
        (format!("{:<7}  {}", plain(text("op")), plain(text("path"))), value)
    };
    list(&mut lines, "patch", pod.patch.iter().map(operation));
    if pod.patch.is_empty() {
        lines.push(named("patch", "none"));
    }
    lines
}

/// One name and its value.
fn named(name: &str, value: &str) -> String {
    format!("  {name:<10}  {value}")
}

/// A name and pairs below each other, the second parts aligned.
fn list(lines: &mut Vec<String>, name: &str, pairs: impl Iterator<Item = (String, String)>) {
    let pairs: Vec<_> = pairs.collect();
    let width = pairs.iter().map(|(first, _)| first.chars().count()).max().unwrap_or_default();
    for (number, (first, second)) in pairs.into_iter().enumerate() {
        let name = if number == 0 { name } else { "" };
        lines.push(named(name, &format!("{first:<width$}  {second}")).trim_end().to_owned());
    }
}

fn mirror(row: &MirrorRow, palette: Palette) -> (String, String) {
    let place = row.reference.as_deref().unwrap_or(&row.mirror);
    let tone = match row.answer {
        "found" | "locked" => Tone::Good,
        "not-asked" => Tone::Plain,
        _ => Tone::Doubtful,
    };
    let mut said = palette.paint(tone, &row.answer.replace('-', " "));
    if let Some(detail) = &row.detail {
        let sign = if matches!(row.answer, "found" | "locked") { " " } else { ": " };
        said.extend([sign, &plain(detail)]);
    }
    if let Some(elapsed) = row.elapsed {
        said.extend([" (", &took(elapsed), ")"]);
    }
    (plain(place), said)
}

fn considered(row: &ConsideredRow, palette: Palette) -> (String, String) {
    let scope = row.namespaces.as_ref().map(|patterns| format!(" in {}", patterns.join(", ")));
    let mirror = row.mirror.as_ref().map(|mirror| format!(" by its mirror {mirror}"));
    let rule = format!(
        "{}{} (line {}){}",
        row.rule,
        scope.unwrap_or_default(),
        row.line,
        mirror.unwrap_or_default()
    );
    let mut fate = if row.fate == "won" { palette.paint(Tone::Good, row.fate) } else { row.fate.to_owned() };
    if let Some(why) = &row.why {
        fate.extend([": ", &plain(why)]);
    }
    (plain(&rule), fate)
}

fn took(elapsed: Duration) -> String {
    match elapsed.as_millis() {
        0 => "under 1 ms".to_owned(),
        millis => format!("{millis} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            written: "ngi\u{1b}[31mnx".into(),
            reference: Some("docker.io/library/nginx:latest".into()),
            rule: Some("docker.io".into()),
            mirror: Some("r.corp/hub".into()),
            result: Some("r.corp/hub/library/nginx:latest@sha256:aa".into()),
            digest: Some("sha256:aa".into()),
            outcome: "rewritten",
            reason: "pinned",
            resolved_from: Some("registry"),
            mirrors: vec![
                MirrorRow {
                    mirror: "first.corp".into(),
                    reference: Some("first.corp/library/nginx:latest".into()),
                    asked: true,
                    answer: "missing",
                    detail: Some("the registry says that it does not exist".into()),
                    elapsed: Some(Duration::from_millis(12)),
                },
                MirrorRow {
                    mirror: "r.corp/hub".into(),
                    reference: Some("r.corp/hub/library/nginx:latest".into()),
                    asked: true,
                    answer: "found",
                    detail: Some("sha256:aa".into()),
                    elapsed: Some(Duration::from_micros(7)),
                },
            ],
            considered: vec![
                ConsideredRow {
                    rule: "docker.io".into(),
                    line: 4,
                    namespaces: Some(vec!["team-*".into(), "shop".into()]),
                    mirror: None,
                    fate: "won",
                    why: None,
                },
                ConsideredRow {
                    rule: "*".into(),
                    line: 11,
                    namespaces: None,
                    mirror: None,
                    fate: "less specific",
                    why: Some("`docker.io` of line 4 names the registry".into()),
                },
            ],
            field: None,
            place: None,
            rule_line: Some(4),
            is_as_asked: true,
        }
    }

    #[test]
    fn what_belongs_together_is_aligned_and_nothing_of_the_user_s_steers_the_terminal() {
        let lines = image(&row(), Palette::Plain).join("\n");
        insta::assert_snapshot!(lines, @r"
        ngi�[31mnx
          rewritten (pinned)
          result      r.corp/hub/library/nginx:latest@sha256:aa
          reference   docker.io/library/nginx:latest
          rule        docker.io (line 4)
          mirror      r.corp/hub
          digest      sha256:aa
          known from  registry
          mirrors     first.corp/library/nginx:latest  missing: the registry says that it does not exist (12 ms)
                      r.corp/hub/library/nginx:latest  found sha256:aa (under 1 ms)
          considered  docker.io in team-*, shop (line 4)  won
                      * (line 11)                         less specific: `docker.io` of line 4 names the registry
        ");
    }

    #[test]
    fn colour_adds_codes_and_nothing_else() {
        let coloured = image(&row(), Palette::Coloured).join("\n");
        assert!(coloured.contains("\u{1b}[32mrewritten\u{1b}[0m (pinned)"), "{coloured}");
        assert!(coloured.contains("\u{1b}[33mmissing\u{1b}[0m: the registry"), "{coloured}");
        let denied = Row { outcome: "denied", reason: "missing", ..row() };
        assert!(image(&denied, Palette::Coloured)[1].contains("\u{1b}[31mdenied\u{1b}[0m"));
        let mut bare = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, behind)) = rest.split_once('\u{1b}') {
            bare.push_str(before);
            rest = behind.split_once('m').unwrap().1;
        }
        bare.push_str(rest);
        assert_eq!(bare, image(&row(), Palette::Plain).join("\n"));
    }
}
