//! The pages under `docs/scenarios`: their tables are read, their commands are commands, and what they show is said.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use portolan::table::Table;
use tempfile::TempDir;

#[test]
fn the_tables_of_the_pages_are_read_without_a_warning() {
    let mut count = 0;
    for (page, text) in pages() {
        for block in
            blocks(&text).filter(|block| block.contains("kind: MappingTable") && !block.contains('…'))
        {
            let parsed = Table::parse(block).unwrap_or_else(|error| panic!("{page}: {error}"));
            assert!(parsed.warnings.is_empty(), "{page}: {:?}", parsed.warnings);
            count += 1;
        }
    }
    assert!(count >= 3, "{count} tables were seen");
}

#[test]
fn every_command_of_the_pages_has_its_flags() {
    let mut helps = BTreeMap::new();
    let mut count = 0;
    for (page, text) in pages() {
        for command in commands(&text) {
            let mut words = command.split(' ').filter(|word| !word.is_empty());
            let name = words.next().unwrap().to_owned();
            let help = helps.entry(name.clone()).or_insert_with(|| {
                let output = portolan(&[&*name, "--help"], root());
                assert!(output.status.success(), "{page}: there is no `portolan {name}`");
                String::from_utf8(output.stdout).unwrap()
            });
            let known: Vec<_> = help.split([' ', ',', '\n', '[', '=']).collect();
            for flag in words.filter(|word| word.starts_with('-') && *word != "-") {
                let flag = flag.split('=').next().unwrap();
                assert!(known.contains(&flag), "{page}: `portolan {name}` has no {flag}");
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count} commands were seen");
}

#[test]
fn what_the_pages_show_of_a_command_is_what_it_says() {
    let mut count = 0;
    for (page, text) in pages() {
        let folder = TempDir::new().unwrap();
        std::os::unix::fs::symlink(root().join("examples"), folder.path().join("examples")).unwrap();
        for block in blocks(&text) {
            // A file is called by the comment that it begins with.
            let Some(name) = block.strip_prefix("# ").and_then(|rest| rest.split([':', '\n', ' ']).next())
            else {
                continue;
            };
            fs::write(folder.path().join(name), block).unwrap();
        }
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(command) = line.strip_prefix("    $ portolan ") else { continue };
            let mut shown = String::new();
            while let Some(line) = lines.next_if(|line| line.starts_with("    ")) {
                shown += &line[4..];
                shown.push('\n');
            }
            let output = portolan(&command.split(' ').collect::<Vec<_>>(), folder.path());
            assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), shown.trim(), "{page}: {command}");
            count += 1;
        }
    }
    assert!(count >= 4, "{count} commands were run");
}

#[test]
fn every_page_is_listed_and_says_by_which_test_it_was_tried() {
    let list = fs::read_to_string(root().join("docs/scenarios/README.md")).unwrap();
    let source = fs::read_to_string(root().join("tests/cluster/scenarios.rs")).unwrap();
    let (_, listed) = source.split_once("trials![").unwrap();
    let listed: Vec<_> = listed
        .split(';')
        .nth(1)
        .unwrap()
        .split([',', ']'])
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    for (page, text) in pages() {
        if page == "README.md" {
            continue;
        }
        assert!(list.contains(&format!("]({page})")), "docs/scenarios/README.md does not list {page}");
        let named: Vec<_> =
            text.split('`').skip(1).step_by(2).filter_map(|word| word.strip_prefix("scenarios::")).collect();
        assert!(!named.is_empty(), "{page} names no test");
        for name in named {
            assert!(listed.contains(&name), "{page} names {name}, which is not one of {listed:?}");
        }
    }
}

/// Everything after `portolan ` in the lines for a shell; a line that ends in `\` goes on in the next.
fn commands(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let mut commands = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("    ")) {
        for part in line.split(" | ") {
            let part = part.strip_prefix("$ ").unwrap_or(part);
            if let Some(command) = part.strip_prefix("portolan ") {
                commands.push(command.split(" > ").next().unwrap().to_owned());
            }
        }
    }
    commands
}

fn blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next())
}

fn portolan(arguments: &[&str], folder: &Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn pages() -> Vec<(String, String)> {
    let files = fs::read_dir(root().join("docs/scenarios")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    files.sort();
    let read = |path: PathBuf| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
    };
    files.into_iter().map(read).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
