//! The pages under `docs/reference` are made from the code: `make reference` writes them, and these tests fail when they
//! drift.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
};

use portolan::{
    metrics::Metrics,
    rewrite::{Reason, ResolvedFrom},
};

mod annotations;
mod exit_codes;
mod table;

#[test]
fn the_page_about_commands_is_what_they_print() {
    let mut page =
        "# Commands\n\nWhat `--help` prints. Flags with a variable can be set by it, too.\n".to_owned();
    for command in [
        "",
        "serve",
        "explain",
        "images",
        "check",
        "lock",
        "save",
        "load",
        "copy",
        "import",
        "export",
        "certs",
        "completions",
        "man",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_portolan"))
            .args(command.split_terminator(' ').chain(["--help"]))
            .env_clear()
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        let help: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
        let title = ["portolan", command].join(" ");
        write!(page, "\n## {}\n\n```text\n{}\n```\n", title.trim_end(), help.join("\n")).unwrap();
    }
    compare("commands.md", &page);
}

#[test]
fn the_page_about_reasons_has_every_word() {
    let about = documented("src/rewrite/decision.rs");
    let mut page = "# Reasons\n\nWhy an image's outcome is what it is: one word each, used alike by `explain`, the audit \
                    log, metrics, warnings and\nthe annotation.\n\n| word | meaning |\n|---|---|\n"
        .to_owned();
    for reason in Reason::ALL {
        writeln!(page, "| `{}` | {} |", reason.word(), about[&format!("{reason:?}")]).unwrap();
    }
    page.push_str("\nWhere a digest is known from (`resolvedFrom`):\n\n| word | meaning |\n|---|---|\n");
    for from in ResolvedFrom::ALL {
        writeln!(page, "| `{}` | {} |", from.word(), about[&format!("{from:?}")]).unwrap();
    }
    compare("reasons.md", &page);
}

#[test]
fn the_page_about_metrics_has_every_one() {
    let encoded = Metrics::new().encode();
    let mut page = "# Metrics\n\nOn the ops port (`--ops-listen`), at `/metrics`. No label is ever the name of an image, \
                    a Pod or a registry.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
        .to_owned();
    for block in encoded.split("# HELP ").skip(1) {
        let mut lines = block.lines();
        let (name, help) = lines.next().unwrap().split_once(' ').unwrap();
        let kind = lines.next().unwrap().rsplit(' ').next().unwrap();
        let mut labels = BTreeSet::new();
        let mut full_name = name;
        for line in lines.filter(|line| !line.starts_with('#')) {
            if kind != "histogram" {
                full_name = line.split(['{', ' ']).next().unwrap();
            }
            let Some((_, rest)) = line.split_once('{') else { continue };
            let pairs = rest.split('}').next().unwrap().split(',');
            labels.extend(pairs.filter_map(|pair| pair.split_once('=')).map(|(label, _)| label));
        }
        labels.remove("le");
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let help = help.trim_end_matches('.');
        writeln!(page, "| `{full_name}` | {kind} | {} | {help} |", labels.join(", ")).unwrap();
    }
    compare("metrics.md", &page);
}

/// The doc comment of each variant in a file, on one line.
fn documented(path: &str) -> BTreeMap<String, String> {
    let source = fs::read_to_string(root().join(path)).unwrap();
    let mut found = BTreeMap::new();
    let mut comment = Vec::new();
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            comment.push(text);
        } else {
            if !comment.is_empty() {
                found.insert(line.trim_end_matches(',').to_owned(), comment.join(" "));
            }
            comment.clear();
        }
    }
    found
}

/// Compares a page, which says where it comes from.
#[track_caller]
fn compare(name: &str, page: &str) {
    compare_whole(name, &page.replacen("\n\n", &format!("\n\n{ORIGIN}\n\n"), 1));
}

#[track_caller]
fn compare_whole(name: &str, page: &str) {
    let path = root().join("docs/reference").join(name);
    if env::var_os("PORTOLAN_WRITE_REFERENCE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/{name} is not what the code says; `make reference` writes it anew"
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const ORIGIN: &str = "<!-- Made by `make reference`. -->";
