//! No file of another tool panics its reader, whatever it is taken for; what is printed is a table, and whatever that
//! says can be told to nodes and read back.

use portolan::{
    foreign::{
        File, Kind, hosts_toml, image_digest_mirror_set, image_tag_mirror_set, import, registries_conf,
        registries_yaml,
    },
    table::Table,
};

/// Panics if the text is read wrongly.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = File { name: "certs.d/docker.io/hosts", text };
    for kind in Kind::ALL.map(Some).into_iter().chain([None]) {
        let mut beside = |_: &str, _: &str| Some(text.to_owned());
        match import(kind, &[file], &mut beside) {
            Ok(imported) => {
                assert!(
                    imported.warnings.iter().all(|warning| !warning.contains(char::is_control)),
                    "{imported:?}"
                );
                let table = Table::parse(&imported.text);
                let table = table.unwrap_or_else(|problems| panic!("{problems}\n{}", imported.text)).table;
                check_exports(&table);
            }
            Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
        }
    }
}

fn check_exports(table: &Table) {
    let files = hosts_toml(table).files;
    let files: Vec<_> = files.iter().filter(|(path, _)| path.ends_with("hosts.toml")).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| File { name, text }).collect();
    read_back(Kind::HostsToml, &files);
    for (kind, exported) in [
        (Kind::Idms, image_digest_mirror_set(table)),
        (Kind::Itms, image_tag_mirror_set(table)),
        (Kind::RegistriesConf, registries_conf(table)),
        (Kind::RegistriesYaml, registries_yaml(table)),
    ] {
        read_back(kind, &[File { name: "x", text: &exported.text }]);
    }
}

fn read_back(kind: Kind, files: &[File<'_>]) {
    let imported = import(Some(kind), files, &mut |_, _| None);
    assert!(imported.is_ok(), "{kind}: {imported:?}\n{files:?}");
}
