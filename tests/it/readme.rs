//! What README.md, `examples/` and docs/operators.md show is what the command says.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use portolan::{
    image::Reference,
    metrics::Metrics,
    table::{Lookup, Table},
};
use serde_json::Value;

#[test]
fn the_tables_that_newcomers_meet_are_read_without_a_warning() {
    let readme = read("README.md");
    let in_readme = readme
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.contains("kind: MappingTable"))
        .expect("README.md shows a table");
    for text in [in_readme, &read("examples/table.yaml")] {
        let parsed = Table::parse(text).unwrap();
        assert!(parsed.warnings.is_empty(), "{:?} in\n{text}", parsed.warnings);
        assert!(!parsed.table.rules().is_empty());
    }
}

#[test]
fn the_answers_of_explain_in_the_readme_are_its_own() {
    let readme = read("README.md");
    let mut lines = readme.lines().skip_while(|line| !line.starts_with("    $ portolan explain "));
    let command = lines.next().expect("README.md shows explain").trim_start_matches("    $ portolan ");
    let shown: Vec<_> = lines
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| line.strip_prefix("    ").unwrap_or(line))
        .collect();
    let output = Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(command.split(' '))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), shown.join("\n").trim());
}

#[test]
fn what_the_readme_points_to_is_there() {
    let readme = read("README.md");
    let links: BTreeSet<_> = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.contains("docs/architecture.md"), "{links:?}");
    for link in links {
        assert!(root().join(link).exists(), "README.md points to {link}");
    }
    let makefile = read("Makefile");
    for target in readme.lines().filter_map(|line| line.strip_prefix("    make ")) {
        let target = target.split(' ').next().unwrap();
        assert!(makefile.contains(&format!("\n{target}:")), "the Makefile has no target {target}");
    }
}

#[test]
fn the_page_about_operators_opts_pods_out_and_names_the_mirror_that_the_table_says() {
    let page = read("docs/operators.md");
    let table = "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n\
                 - {source: '*', mirrors: ['registry.example.com:32000/{registry}']}\n";
    assert!(page.contains("takes `*` to `registry.example.com:32000/{registry}`"));
    let table = Table::parse(table).unwrap().table;
    let examples: Vec<Value> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(|block| serde_saphyr::from_str(block).unwrap_or_else(|error| panic!("{error} in\n{block}")))
        .collect();
    for (kind, labels, images) in [
        ("Cluster", "/spec/inheritedMetadata/labels", &["/spec/imageName"][..]),
        ("NifiCluster", "/spec/pod/labels", &["/spec/clusterImage", "/spec/initContainerImage"]),
        ("AerospikeCluster", "/spec/podSpec/metadata/labels", &["/spec/image"]),
    ] {
        let example = examples.iter().find(|example| example["kind"] == kind).expect(kind);
        assert_eq!(example.pointer(labels).unwrap()["portolan.dev/rewrite"], "disabled", "{kind}");
        for pointer in images {
            let mirrored = example.pointer(pointer).unwrap().as_str().unwrap();
            let written = Reference::parse(mirrored.split_once('/').unwrap().1).unwrap();
            let Lookup::Rule(rule) = table.lookup(&written, None) else { panic!("{mirrored}") };
            assert_eq!(rule.place(0, &written).unwrap().as_str(), mirrored);
        }
    }
    let metrics = Metrics::new().encode();
    for name in ["portolan_fights_total", "portolan_fights_going_on"] {
        assert!(page.contains(name) && metrics.contains(&format!("\n{name} 0\n")), "{name}");
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
