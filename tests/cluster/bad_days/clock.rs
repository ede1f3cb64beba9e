//! A machine whose clock jumps. The wall clock of one process is moved by libfaketime; the monotonic one goes on, as it
//! does on a real machine.

use std::{collections::BTreeSet, ffi::OsString, fs, path::PathBuf, thread};

use serde_json::json;

use super::{Load, installation::LIMIT, span};
use crate::{
    support::{Missing, Outcome, Shipped, dynamic_binary, eventually, folder},
    trials,
};

trials!["bad_days::clock"; a_clock_that_jumps_by_a_year_changes_nothing];

fn a_clock_that_jumps_by_a_year_changes_nothing() -> Outcome {
    let program = dynamic_binary().ok_or_else(|| Missing("no dynamically linked binary".to_owned()))?;
    let clock = FalseClock::new()?;
    let mut shipped = Shipped::install_with_tls_self(&[])?;
    shipped.start_from(program, &clock.variables())?;
    shipped.set_rules(RULES);
    let digest = shipped.registry.push("hub/library/nginx", "1.25");
    let load = Load {
        api: shipped.plane.api.clone(),
        namespace: "default".to_owned(),
        written: "nginx:1.25".to_owned(),
        expected: format!("{}/hub/library/nginx:1.25@{digest}", shipped.registry.host()),
    };
    load.wait_rewritten();
    let secret = || shipped.plane.api.read(SECRET).unwrap()["data"].clone();
    let before = secret();
    let ((), record) = load.during("clock jump of a year, back by two, and right again", |_| {
        for jump in ["+1y", "-1y", "+0"] {
            clock.set(jump);
            thread::sleep(span(3, 40));
            assert_eq!(shipped.portolan.ops("/readyz").unwrap().0, 200);
        }
    });
    record.none_failed().all_answered().none_unrewritten();
    let years: BTreeSet<_> = shipped
        .portolan
        .audit()
        .iter()
        .map(|line| line["time"].as_str().unwrap().split('-').next().unwrap().to_owned())
        .collect();
    assert_eq!(years.len(), 3, "the clock did jump: {years:?}");
    assert_eq!(secret(), before, "certificates are judged by the API server's clock");

    // It follows the table still.
    let table = format!("{RULES}  - source: quay.io\n    mirrors: [MIRROR/quay]\n");
    let table = crate::support::Scene::table(&shipped.registry, &table, &[]);
    let patch = json!({"data": {"table.yaml": table}}).to_string();
    let edit =
        ["--namespace=portolan", "patch", "configmap/portolan-table", "--type=merge", "--patch", &patch];
    shipped.plane.kubectl.must(&edit, "");
    eventually(LIMIT, || {
        let metrics = shipped.portolan.ops("/metrics").unwrap().1;
        if metrics.contains("\nportolan_table_rules 2\n") { Ok(()) } else { Err("not seen") }
    });
    Ok(())
}

/// What a process takes for the time.
struct FalseClock {
    library: PathBuf,
    file: PathBuf,
}

impl FalseClock {
    fn new() -> Result<Self, Missing> {
        let missing = || Missing("libfaketime is not installed (Debian: libfaketime)".to_owned());
        let folders = fs::read_dir("/usr/lib").map_err(|_| missing())?;
        let library = folders
            .flatten()
            .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
            .find(|path| path.is_file())
            .ok_or_else(missing)?;
        let clock = Self { library, file: folder("clock").join("jump") };
        clock.set("+0");
        Ok(clock)
    }

    fn set(&self, jump: &str) {
        // Whole at once: it is read all the time.
        let new = self.file.with_extension("new");
        fs::write(&new, jump).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    fn variables(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", self.library.clone().into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone().into()),
            ("FAKETIME_CACHE_DURATION", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ]
    }
}

const RULES: &str = "rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n";
const SECRET: &str = "/api/v1/namespaces/portolan/secrets/portolan-tls-self";
