//! The page at `/`: what `/status` has, for people. It needs nothing from the net, and has no scripts.

use std::fmt::{self, Display, Write as _};

use super::{FightStatus, LockStatus, RuleStatus, Status, TableStatus, UnrewrittenStatus};

/// Nothing is fetched, embedded or run, whatever a text on the page should hold.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                                                  form-action 'none'; frame-ancestors 'none'";

/// The whole page.
pub(super) fn html(status: &Status) -> String {
    let mut page = String::with_capacity(16 * 1024);
    write(&mut page, status).expect("writing to a string cannot fail");
    page
}

fn write(page: &mut String, status: &Status) -> fmt::Result {
    let Status { version, time, mode, ready, .. } = status;
    let ready = if *ready { "ready" } else { "not ready" };
    page.push_str(HEAD);
    writeln!(page, "<h1>Portolan {}</h1>", Text(version))?;
    writeln!(
        page,
        "<p><b>{ready}</b>, mode {}, at {} (<a href=\"status\">JSON</a>)</p>",
        Text(mode),
        Text(time)
    )?;
    if !status.fights.is_empty() {
        fights(page, &status.fights)?;
    }
    heading(page, "Ready")?;
    rows(page, &["condition", "", "note"], &status.conditions, |condition| {
        let met = if condition.is_met { "ok" } else { "missing" };
        vec![condition.name.to_owned(), met.to_owned(), condition.note.clone().unwrap_or_default()]
    })?;
    if let Some(expires) = &status.certificate_expires {
        writeln!(page, "<p>The certificate is valid until {}.</p>", Text(expires))?;
    }
    table(page, &status.table)?;
    lock(page, &status.lock)?;
    heading(page, "Registries")?;
    rows(page, &["registry", ""], &status.registries, |registry| {
        let left_alone = registry.left_alone_for_seconds;
        let left_alone = left_alone.map(|left| format!("did not answer; left alone for {left} s more"));
        vec![registry.host.clone(), left_alone.unwrap_or_default()]
    })?;
    let memory = &status.memory;
    writeln!(page, "<p>Remembered: {} answers, {} refusals.</p>", memory.answers, memory.refusals)?;
    if status.fights.is_empty() {
        fights(page, &status.fights)?;
    }
    if let Some(unrewritten) = &status.unrewritten {
        self::unrewritten(page, unrewritten)?;
    }
    heading(page, "Counts")?;
    let counted: Vec<_> = status.counts.iter().filter(|(_, count)| count.as_f64() != Some(0.0)).collect();
    rows(page, &["metric", "value"], &counted, |(name, count)| vec![(*name).clone(), count.to_string()])?;
    page.push_str("</body></html>\n");
    Ok(())
}

fn fights(page: &mut String, fights: &[FightStatus]) -> fmt::Result {
    heading(page, "Fights over images")?;
    if fights.is_empty() {
        return writeln!(page, "<p>None was noticed.</p>");
    }
    writeln!(
        page,
        "<p>These make their Pods anew, or set images back, again and again. If they compare images with what they \
         wrote, have them label their Pods <code>portolan.dev/rewrite: disabled</code>: docs/operators.md.</p>"
    )?;
    rows(page, &["owner", "pod", "images", "seen", "since", "last"], fights, |fight| {
        let owner = &fight.owner;
        let images: Vec<_> =
            fight.images.iter().map(|image| format!("{} → {}", image.written, image.result)).collect();
        let over = if fight.is_going_on { "" } else { " (over)" };
        vec![
            format!("{}/{} in {} ({})", owner.kind, owner.name, fight.namespace, owner.api_version),
            format!("{} ({})", fight.pod, fight.act),
            images.join(", "),
            format!("{} times", fight.times),
            fight.since.clone(),
            format!("{}{over}", fight.last),
        ]
    })
}

fn unrewritten(page: &mut String, unrewritten: &UnrewrittenStatus) -> fmt::Result {
    heading(page, "Pods admitted without Portolan")?;
    let UnrewrittenStatus { looked_at, pods, examples, error } = unrewritten;
    if let Some(error) = error {
        return writeln!(page, "<p>Not known at {}: {}</p>", Text(looked_at), Text(error));
    }
    write!(page, "<p>{pods} at {}", Text(looked_at))?;
    if *pods > 0 {
        let more = if *pods > examples.len() { " …" } else { "" };
        write!(
            page,
            ": {}{more}. <code>portolan check --cluster</code> names them all and prints what mends them.",
            Text(&examples.join(", "))
        )?;
    }
    writeln!(page, "</p>")
}

fn table(page: &mut String, table: &TableStatus) -> fmt::Result {
    heading(page, "Table")?;
    let since = table.in_force_since.as_deref().unwrap_or("not yet");
    let last_good = if table.is_last_good { " (the last good one, as kept)" } else { "" };
    writeln!(
        page,
        "<p>{} rules from {}, in force since {}{last_good}</p>",
        table.rule_count,
        Text(&table.from),
        Text(since)
    )?;
    note(page, table.note.as_deref())?;
    let heads = ["line", "source", "mirrors", "namespaces", "pin", "onMissing", "onUnavailable", "lock"];
    rows(page, &heads, &table.rules, |rule: &RuleStatus| {
        let mirrors = if rule.keep { "keep".to_owned() } else { rule.mirrors.join(", ") };
        let [pin, on_missing, on_unavailable, lock] =
            if rule.keep { [""; 4] } else { [rule.pin, rule.on_missing, rule.on_unavailable, rule.lock] };
        let namespaces = rule.namespaces.as_ref().map(|all| all.join(", ")).unwrap_or_default();
        let words = [pin, on_missing, on_unavailable, lock].map(str::to_owned);
        [rule.line.to_string(), rule.source.clone(), mirrors, namespaces].into_iter().chain(words).collect()
    })?;
    let more = table.rule_count - table.rules.len();
    if more > 0 { writeln!(page, "<p>and {more} more</p>") } else { Ok(()) }
}

fn lock(page: &mut String, lock: &LockStatus) -> fmt::Result {
    heading(page, "Lock")?;
    let LockStatus { lines, missing, moved, .. } = lock;
    writeln!(
        page,
        "<p>{lines} lines from {}, in force since {}; missing in their mirror: {missing}, moved tags: {moved}</p>",
        Text(&lock.from),
        Text(lock.in_force_since.as_deref().unwrap_or("not yet"))
    )?;
    note(page, lock.note.as_deref())
}

fn heading(page: &mut String, text: &str) -> fmt::Result {
    writeln!(page, "<h2>{}</h2>", Text(text))
}

fn note(page: &mut String, note: Option<&str>) -> fmt::Result {
    note.map_or(Ok(()), |note| writeln!(page, "<p>{}</p>", Text(note)))
}

/// A table of texts.
fn rows<T>(page: &mut String, heads: &[&str], rows: &[T], cells: impl Fn(&T) -> Vec<String>) -> fmt::Result {
    page.push_str("<table><tr>");
    for head in heads {
        write!(page, "<th>{}</th>", Text(head))?;
    }
    page.push_str("</tr>\n");
    for row in rows {
        page.push_str("<tr>");
        for cell in cells(row) {
            write!(page, "<td>{}</td>", Text(&cell))?;
        }
        page.push_str("</tr>\n");
    }
    writeln!(page, "</table>")
}

/// A text on the page, whatever it holds.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Portolan</title>\n\
                    <style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}\
                    th,td{text-align:left;vertical-align:top;padding:.1em 1em .1em 0}th{font-weight:normal;color:#666}\
                    </style></head><body>\n";
