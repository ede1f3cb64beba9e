//! The pages under `docs/`: where their links lead, and that the tests which they name are there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{} points to {link}", page.display());
            if !place.is_empty() {
                let places = places(&fs::read_to_string(&target).unwrap());
                assert!(places.contains(place), "{} points to {link}, of {places:?}", page.display());
            }
        }
    }
    assert!(count > 20, "{count} links were seen");
}

#[test]
fn every_test_that_the_security_page_names_is_one() {
    let text = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let named: BTreeSet<_> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| ["it::", "cluster::"].iter().any(|suite| word.starts_with(suite)))
        .collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        let (module, test) = name.rsplit_once("::").unwrap();
        let file = root().join("tests").join(module.replace("::", "/")).with_extension("rs");
        let source = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        // An attribute makes it one; the real-cluster tests are listed by their names.
        let is_test = if module.starts_with("cluster") {
            let (_, listed) = source.split_once("trials![").unwrap();
            listed.split(';').nth(1).unwrap().split([',', ']']).any(|listed| listed.trim() == test)
        } else {
            [format!("#[test]\nfn {test}("), format!("test]\nasync fn {test}(")]
                .iter()
                .any(|text| source.contains(text))
        };
        assert!(is_test, "there is no test {name}");
    }
}

#[test]
fn the_registries_that_it_was_tried_with_are_those_that_the_tests_build() {
    let page = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    for (folder, module, said) in [
        ("distribution", "github.com/distribution/distribution/v3 v", "| distribution | VERSION |"),
        ("crane", "github.com/google/go-containerregistry v", "| crane (go-containerregistry) | VERSION |"),
        ("token-server", "github.com/docker/distribution v", "own token server (VERSION)"),
    ] {
        let file = root().join("tests/cluster/registries").join(folder).join("go.mod");
        let text = fs::read_to_string(file).unwrap();
        let version = text.split_once(module).unwrap().1.split([' ', '+', '\n']).next().unwrap();
        let said = said.replace("VERSION", version);
        assert!(page.contains(&said), "docs/reliability.md does not say `{said}`");
    }
}

/// The places in a page that a link may name: its headings, as they are written there.
fn places(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            heading
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

fn pages() -> Vec<PathBuf> {
    let folders = ["docs", "docs/scenarios"].into_iter();
    let entries = folders.flat_map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let files = entries.map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    pages.push(root().join("README.md"));
    pages.push(root().join("certs/README.md"));
    pages
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
