//! `portolan lock`: the lock, written from what the mirrors hold now.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::json;

use super::{
    ExitStatus, Printer,
    inputs::{InputArgs, Wanted},
    parse_duration,
    registries::{AT_ONCE, reachable},
    table_args::TableArgs,
};
use crate::{
    cluster::{self, LockTexts},
    image::{Digest, Reference},
    lock::{self, ConfigMaps, Lock, Update, sheets},
    registry::{Answer, Question, Resolver},
    table::{LockMode, Lookup, Pin, Rule, Table},
};

/// What `lock` is asked.
#[derive(Debug, Args)]
#[command(
    after_help = "Without `--lock FILE` the lock goes to stdout. What was found is written whatever the exit code.

Registries are asked with your logins: those of podman, of docker and of their credential helpers
(`portolan save --help` says where they are looked for).

Examples:
  portolan lock --table mirrors.yaml deploy/ > lock.txt
  portolan lock --table mirrors.yaml --lock lock.txt --prune deploy/
  portolan lock --cluster -o configmaps | kubectl apply --server-side -f -

Exit codes:
  0  every image that needs a line has one
  1  no mirror has one of them
  2  a registry did not say"
)]
pub(super) struct LockArgs {
    #[command(flatten)]
    inputs: InputArgs,

    #[command(flatten)]
    tables: TableArgs,

    /// Take out the lines that none of the images needs
    #[arg(long, requires = "lock")]
    prune: bool,

    /// Longest time to wait for registries, for each image
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    resolve_timeout: Duration,

    /// How to print the whole lock; with `--lock FILE` text goes to the file alone, whose comments stay
    #[arg(short, long, value_enum, default_value = "text")]
    output: LockFormat,
}

/// How a lock is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum LockFormat {
    /// ConfigMaps with the lock's label, of 200 KiB at most, for `kubectl apply --server-side`
    Configmaps,
    /// For scripts; stable
    Json,
    /// Lines
    Text,
}

/// A line, for scripts.
#[derive(Serialize)]
struct Row<'l> {
    reference: &'l str,
    digest: &'l str,
}

/// What the mirrors say of one image.
enum Said {
    /// The first that has it, and what.
    Found(Reference, Digest),
    /// None has it: the places where it was looked for.
    Missing(Vec<Reference>),
    /// No rule that goes by the lock speaks of it.
    NotAsked,
    /// One that might have it did not say.
    Silent(Vec<Reference>),
}

pub(super) fn run(args: &LockArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let table = args.tables.open_table(printer).await?;
        let mut old = old_text(args.tables.lock_file())?;
        let resolver = reachable(&table)?;
        let client = args.inputs.connect().await?;
        let present = match &client {
            Some(client) if args.output == LockFormat::Configmaps => {
                Some(present(client, args.tables.own_namespace()).await?)
            }
            _ => None,
        };
        if args.tables.lock_file().is_none() {
            // What is printed replaces them: a line that is not in it is gone.
            old = present.as_ref().map(written_before).transpose()?.flatten();
        }
        let inputs = args.inputs.collect(args.tables.own_namespace(), client.as_ref(), printer).await?;
        if args.prune && (inputs.unread > 0 || inputs.wanted.is_empty()) {
            bail!("not every image is known, so that nothing can be pruned");
        }
        let wanted: Vec<_> = inputs.wanted.iter().filter(|wanted| wanted.left_alone.is_none()).collect();
        let said = ask(&table, &resolver, args.resolve_timeout, &wanted).await;

        let mut update = Update::default();
        let (mut missing, mut silent) = (0, 0);
        for (wanted, said) in wanted.iter().zip(said) {
            match said {
                Said::Found(place, digest) => update.add(&place, digest),
                Said::Missing(places) => {
                    missing += 1;
                    printer.note(&format!("missing: `{}` is not {}", wanted.image, named(&places)));
                }
                Said::NotAsked => {}
                Said::Silent(places) => {
                    silent += 1;
                    printer.note(&format!(
                        "unknown: nobody said whether `{}` is {}",
                        wanted.image,
                        named(&places)
                    ));
                    for place in &places {
                        update.leave(place);
                    }
                }
            }
        }
        let text =
            update.apply(old.as_deref().unwrap_or(HEADER), args.prune).context("cannot write the lock")?;
        write(args, &text, update.len(), printer)?;
        if let Some(present) = &present {
            warn_of_others(present, &text, printer)?;
        }
        Ok(if missing > 0 {
            ExitStatus::No
        } else if silent > 0 || inputs.unread > 0 {
            ExitStatus::Unknown
        } else {
            ExitStatus::Yes
        })
    })
}

/// The text of the lock's file; `None`: there is no file yet, or none was named.
pub(super) fn old_text(path: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(path) = path else { return Ok(None) };
    let unreadable = || format!("cannot read the lock `{}`", path.display());
    match fs::read_to_string(path) {
        // Read now, so that nobody waits for registries and then learns that it is broken.
        Ok(text) => Lock::parse(&text).map(|_| Some(text)).with_context(unreadable),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(unreadable),
    }
}

/// What the mirrors say of every image, a few asked at once, each with the whole time. Of whom nothing was heard they
/// are asked once more: what came too late is known by then.
async fn ask(table: &Table, resolver: &Resolver, limit: Duration, wanted: &[&Wanted]) -> Vec<Said> {
    let asked = |wanted: &Wanted| {
        let places = places(table, wanted);
        async move { say(resolver, limit, places).await }
    };
    let mut said: Vec<_> = stream::iter(wanted).map(|wanted| asked(wanted)).buffered(AT_ONCE).collect().await;
    if said.iter().all(|said| matches!(said, Said::Silent(_) | Said::NotAsked)) {
        return said;
    }
    let again = said.iter().zip(wanted).enumerate().filter(|(_, (said, _))| matches!(said, Said::Silent(_)));
    let again: Vec<_> = again.map(|(position, (_, wanted))| (position, *wanted)).collect();
    let mut second = stream::iter(again)
        .map(|(position, wanted)| {
            let asked = asked(wanted);
            async move { (position, asked.await) }
        })
        .buffer_unordered(AT_ONCE);
    while let Some((position, anew)) = second.next().await {
        if let Some(place) = said.get_mut(position) {
            *place = anew;
        }
    }
    said
}

/// Where an image may be whose rule goes by the lock, in the order in which the webhook looks.
fn places(table: &Table, wanted: &Wanted) -> Vec<Reference> {
    let Ok(reference) = Reference::parse(&wanted.image) else { return Vec::new() };
    match table.lookup(&reference, wanted.namespace.as_deref()) {
        Lookup::Rule(rule) if listens(rule) => {
            (0..rule.mirrors().len()).filter_map(|mirror| rule.place(mirror, &reference)).collect()
        }
        Lookup::Inside { rule, .. } if listens(rule) => {
            Reference::from_normalised(reference.as_str()).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a rule goes by the lock.
pub(super) fn listens(rule: &Rule) -> bool {
    rule.pin() != Pin::Off && rule.lock() != LockMode::Ignore
}

async fn say(resolver: &Resolver, limit: Duration, places: Vec<Reference>) -> Said {
    if places.is_empty() {
        return Said::NotAsked;
    }
    for place in &places {
        let question = Question { mirrors: &[place], always: false };
        match resolver.resolve(&question, Instant::now() + limit).await {
            Answer::Found { digest, .. } => return Said::Found(place.clone(), digest),
            Answer::Missing => {}
            // The webhook goes by the first mirror with a line: this one might be that.
            Answer::Unauthorized { .. } | Answer::Unavailable { .. } => return Said::Silent(places),
        }
    }
    Said::Missing(places)
}

fn named(places: &[Reference]) -> String {
    let places: Vec<_> = places.iter().map(|place| format!("`{}`", place.as_str())).collect();
    format!("at {}", places.join(" or "))
}

fn write(args: &LockArgs, text: &str, lines: usize, printer: &mut Printer) -> anyhow::Result<()> {
    if let Some(path) = args.tables.lock_file() {
        replace(path, text).with_context(|| format!("cannot write the lock `{}`", path.display()))?;
        printer.note(&format!("wrote {lines} lines to `{}`", path.display()));
    }
    match args.output {
        LockFormat::Configmaps => {
            let sheets = sheets(text, MOST_TEXT).context("cannot write the lock")?;
            for (number, sheet) in sheets.iter().enumerate() {
                let map = json!({
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {
                        "name": name(number),
                        "namespace": args.tables.own_namespace(),
                        "labels": BTreeMap::from([(lock::LABEL, "true")]),
                    },
                    "data": {KEY: sheet},
                });
                if number > 0 {
                    printer.line("---")?;
                }
                printer.json(&map)?;
            }
        }
        LockFormat::Json => {
            let lock = Lock::parse(text).context("cannot write the lock")?;
            let mut rows: Vec<_> = lock
                .lines()
                .iter()
                .filter_map(|line| {
                    Some(Row { reference: line.reference().as_str(), digest: lock.digest(line)?.as_str() })
                })
                .collect();
            rows.sort_by_key(|row| row.reference);
            printer.json(&rows)?;
        }
        LockFormat::Text if args.tables.lock_file().is_none() => {
            for line in text.lines() {
                printer.line(line)?;
            }
        }
        LockFormat::Text => {}
    }
    Ok(())
}

/// The lock in the cluster.
async fn present(client: &cluster::Client, namespace: &str) -> anyhow::Result<ConfigMaps> {
    match cluster::read_lock(client, namespace).await.context("cannot read the cluster's lock")? {
        LockTexts::Read(present) => Ok(present),
        LockTexts::Unread => Ok(ConfigMaps::new()),
    }
}

/// The text of those ConfigMaps of the lock that an earlier run has written; `None`: there are none.
fn written_before(present: &ConfigMaps) -> anyhow::Result<Option<String>> {
    // Of other keys in them it is not the owner: a server-side apply leaves those.
    let ours: Vec<_> = present
        .iter()
        .filter(|(name, _)| is_ours(name))
        .filter_map(|(name, keys)| Some((name.as_str(), KEY, keys.get(KEY)?.as_str())))
        .collect();
    // Read here, where a problem has the name of its ConfigMap.
    Lock::read_keys(ours.iter().copied()).context("cannot read the cluster's lock")?;
    let texts: Vec<_> = ours.iter().map(|(_, _, text)| *text).collect();
    // A text may have been edited and end without its newline.
    Ok((!texts.is_empty()).then(|| texts.join("\n")))
}

/// Says what of the lock in the cluster would not go together with the ConfigMaps printed: as one lock, they would be
/// refused.
fn warn_of_others(present: &ConfigMaps, text: &str, printer: &mut Printer) -> anyhow::Result<()> {
    let sheets = sheets(text, MOST_TEXT).context("cannot write the lock")?;
    let names: Vec<_> = (0..sheets.len()).map(name).collect();
    let others: Vec<_> = present.iter().filter(|(name, _)| !names.contains(name)).collect();
    for (other, _) in &others {
        if is_ours(other) {
            printer.warning(&format!(
                "ConfigMap `{other}` is from an earlier run and is not written anew: delete it"
            ));
        }
    }
    let keys = others.iter().flat_map(|(map, keys)| {
        keys.iter().map(move |(key, text)| (map.as_str(), key.as_str(), text.as_str()))
    });
    let ours = names.iter().zip(&sheets).map(|(name, sheet)| (name.as_str(), KEY, sheet.as_str()));
    if let Err(problems) = Lock::read_keys(keys.chain(ours)) {
        printer.warning(&format!(
            "beside the lock in the cluster these ConfigMaps would be refused: {problems}"
        ));
    }
    Ok(())
}

/// Whether a ConfigMap has a name that this command gives.
fn is_ours(name: &str) -> bool {
    name.strip_prefix(NAME).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The name of the ConfigMap with that sheet, counted from 0.
fn name(sheet: usize) -> String {
    format!("{NAME}{}", sheet + 1)
}

/// Replaces a file's text in one step: whoever reads it sees the old one or the new one.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    // Behind a link, the file that it leads to.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let mut name = path.file_name().context("this is no file")?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&new)?;
        file.write_all(text.as_bytes())?;
        if let Ok(old) = fs::metadata(&path) {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&new, &path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    Ok(written?)
}

/// What the names of its ConfigMaps begin with, and the key that they have.
const NAME: &str = "portolan-lock-";
const KEY: &str = "lock.txt";

/// What a new lock begins with.
const HEADER: &str = "# Written by `portolan lock` from what the mirrors held. A line: a mirror's reference, a blank, its digest.\n";

/// The text of one ConfigMap, so that the whole, with what JSON adds, stays below 200 KiB.
const MOST_TEXT: usize = 190 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_lines_of_an_earlier_run_in_the_cluster_stay() {
        let line = |name: &str, hex: &str| format!("r.corp/{name}:1 sha256:{}", hex.repeat(64));
        let map =
            |name: &str, text: String| (name.to_owned(), Arc::new(BTreeMap::from([(KEY.to_owned(), text)])));
        let present = ConfigMaps::from([
            map("portolan-lock-1", line("a", "a")),
            map("portolan-lock-2", line("b", "b") + "\n"),
            map("portolan-lock-mine", line("c", "c")),
            map("another", line("d", "d")),
            ("portolan-lock-3".into(), Arc::new(BTreeMap::from([("more".into(), line("f", "f"))]))),
        ]);
        let mut update = Update::default();
        update.add(
            &Reference::parse("r.corp/e:1").unwrap(),
            format!("sha256:{}", "e".repeat(64)).parse().unwrap(),
        );
        let text = update.apply(&written_before(&present).unwrap().unwrap(), false).unwrap();
        let expected: Vec<_> = ["a", "b", "e"].map(|name| line(name, name) + "\n").to_vec();
        assert_eq!(sheets(&text, MOST_TEXT).unwrap(), [expected.concat()]);

        let others = ConfigMaps::from([map("another", line("d", "d"))]);
        assert_eq!(written_before(&others).unwrap(), None);

        let at_odds = ConfigMaps::from([
            map("portolan-lock-1", line("a", "a")),
            map("portolan-lock-2", line("a", "b")),
        ]);
        let error = format!("{:#}", written_before(&at_odds).unwrap_err());
        assert!(error.contains("portolan-lock-2"), "{error}");
    }
}
