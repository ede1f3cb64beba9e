//! Everything that goes wrong with a registry, under load: no admission fails, and what was known stays pinned.
//!
//! The short run asserts counts. The long one (`make faults`) writes the table of docs/reliability.md.

mod fault;
mod load;
mod proxy;
mod report;
mod soak;

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use self::{
    fault::{Fault, Known},
    load::{Image, Load, Result},
    proxy::FaultProxy,
    report::Row,
    soak::soak_under_random_faults_leaves_memory_and_files_flat,
};
use crate::{
    support::{
        Missing, Outcome, Portolan, PortolanOptions, Registry, admit, authority_pem, eventually, folder,
        patched,
    },
    trials,
};

trials!["faults";
    soak_under_random_faults_leaves_memory_and_files_flat,
    no_fault_of_a_registry_fails_an_admission_or_unpins_what_was_known,
];

fn no_fault_of_a_registry_fails_an_admission_or_unpins_what_was_known() -> Outcome {
    let plan = Plan::from_environment();
    let registry = Registry::plain()?;
    let contents = Contents::push(&registry);
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let skipped = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..plan.side_by_side {
            scope.spawn(|| {
                while let Some((name, fault)) = Fault::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !plan.includes(name) {
                        continue;
                    }
                    match suffer(&registry, &contents, &plan, name, *fault) {
                        Ok(row) => {
                            eprintln!("{}", row.text());
                            rows.lock().unwrap().push(row);
                        }
                        Err(missing) => skipped.lock().unwrap().push(format!("{name}: {missing}")),
                    }
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|row| Fault::ALL.iter().position(|(name, _)| *name == row.name));
    if let Some(page) = &plan.page {
        report::write(page, &report::table(&rows));
    }
    for row in &rows {
        let (_, fault) = Fault::ALL.iter().find(|(name, _)| *name == row.name).unwrap();
        row.check(*fault, plan.most_requests());
    }
    match skipped.into_inner().unwrap() {
        skipped if skipped.is_empty() => Ok(()),
        skipped => Err(Missing(format!("not all faults could be made: {}", skipped.join(", ")))),
    }
}

/// Runs one fault against a Portolan of its own.
fn suffer(
    registry: &Registry,
    contents: &Contents,
    plan: &Plan,
    name: &'static str,
    fault: Fault,
) -> std::result::Result<Row, Missing> {
    let names = if fault == Fault::NameUnknown { Some(Names::new()?) } else { None };
    let Patient { proxy, mut portolan, host } = Patient::start(registry, names.as_ref(), plan.fresh)?;
    let images = |names: &[String]| contents.images(&host, names);
    let known = images(&contents.known);
    admit_all(&portolan, &known);
    let load = |time, unknown: &[Image]| {
        let load = Load { address: &portolan.address, rate: plan.rate, time, known: &known, unknown };
        load.run()
    };
    let healthy = load(plan.healthy, &images(&contents.asked_while_well));
    let ill = healthy.iter().find(|one| one.known && one.result != Result::Pinned);
    assert!(ill.is_none_or(|one| one.result == Result::Late), "all is well before `{name}`: {ill:?}");

    proxy.reached();
    if let Some(names) = &names {
        names.forget();
    }
    proxy.set(fault);
    let faulty = load(plan.time, &images(&contents.unknown));
    let reached = proxy.reached();

    let metrics = portolan.ops("/metrics").unwrap().1;
    assert!(metrics.contains("portolan_internal_errors_total 0"), "{metrics}");
    assert_eq!(proxy.leaks(), 0, "credentials went elsewhere in `{name}`");
    portolan.terminate();
    let audit = fs::read_to_string(&portolan.audit_log).unwrap();
    let auth = STANDARD.encode(LOGIN);
    for text in [&metrics, &portolan.process.output(), &audit] {
        assert!(!text.contains(CANARY) && !text.contains(&auth), "a credential leaked in `{name}`");
    }
    Ok(Row { name, healthy, faulty, reached })
}

/// A Portolan whose registry is behind a proxy in which things go wrong.
struct Patient {
    proxy: FaultProxy,
    portolan: Portolan,
    /// What the table calls the registry.
    host: String,
}

impl Patient {
    /// With a login for the registry, which has a name if there are names.
    fn start(
        registry: &Registry,
        names: Option<&Names>,
        fresh: Duration,
    ) -> std::result::Result<Self, Missing> {
        let proxy = FaultProxy::start(&registry.host(), NAME, LOGIN);
        let host = if names.is_some() { NAME } else { "127.0.0.1" };
        let host = format!("{host}:{}", proxy.port());
        let docker = folder("docker");
        let auth = STANDARD.encode(LOGIN);
        fs::write(docker.join("config.json"), json!({"auths": {&host: {"auth": auth}}}).to_string()).unwrap();
        let portolan = Portolan::start(&PortolanOptions {
            table: Some(table(&host)),
            starter: names.map(|names| names.starter.clone()),
            arguments: vec!["--fresh".into(), format!("{}ms", fresh.as_millis())],
            variables: vec![("DOCKER_CONFIG", docker.into())],
            ..PortolanOptions::default()
        })?;
        Ok(Self { proxy, portolan, host })
    }
}

/// Admits each once, so that it is known.
fn admit_all(portolan: &Portolan, images: &[Image]) {
    for image in images {
        eventually(Duration::from_secs(60), || {
            let answer = admit(&mut None, &portolan.address, "one", &image.written).expect("an answer");
            match patched(&answer) {
                Some(came) if came == image.pinned => Ok(()),
                came => Err(came),
            }
        });
    }
}

impl Row {
    /// What holds in any fault, however short.
    fn check(&self, fault: Fault, most_requests: usize) {
        let name = self.name;
        let all = |result| self.count(true, result) + self.count(false, result);
        assert!(
            all(Result::Pinned) + all(Result::Unpinned) + all(Result::PinnedWrong) > 0,
            "{name}: no load"
        );
        assert_eq!((all(Result::Failed), all(Result::Denied)), (0, 0), "failed, denied in `{name}`");
        let known = (self.count(true, Result::Unpinned), self.count(true, Result::PinnedWrong));
        match fault.known() {
            Known::Pinned => assert_eq!(known, (0, 0), "known images unpinned, pinned wrong in `{name}`"),
            Known::Gone => assert_eq!(known.1, 0, "known images pinned wrong in `{name}`"),
        }
        let unknown = self.count(false, Result::PinnedWrong);
        assert!(fault.misleads() || unknown == 0, "unknown images pinned wrong in `{name}`");
        assert!(self.reached <= most_requests, "{} requests in `{name}`", self.reached);
    }
}

/// How long and how much.
struct Plan {
    time: Duration,
    healthy: Duration,
    fresh: Duration,
    rate: u32,
    side_by_side: usize,
    page: Option<PathBuf>,
    only: Option<String>,
}

impl Plan {
    fn from_environment() -> Self {
        let seconds = env::var("PORTOLAN_FAULT_SECONDS").ok().map(|text| text.parse().expect("seconds"));
        let only = env::var("PORTOLAN_FAULT_ONLY").ok().filter(|only| !only.is_empty());
        let short = Self {
            time: Duration::from_secs(2),
            healthy: Duration::from_millis(500),
            fresh: Duration::from_secs(1),
            rate: 40,
            side_by_side: 5,
            page: None,
            only,
        };
        let Some(seconds) = seconds else { return short };
        let time = Duration::from_secs(seconds);
        Self {
            time,
            healthy: time / 4,
            fresh: time / 3,
            rate: 200,
            side_by_side: env::var("PORTOLAN_FAULTS_AT_ONCE")
                .map_or(1, |text| text.parse().expect("a number")),
            page: env::var_os("PORTOLAN_FAULT_PAGE").filter(|page| !page.is_empty()).map(PathBuf::from),
            ..short
        }
    }

    /// However many admissions there are: each image is asked for once in the time that an answer is fresh, and once more
    /// where that time has begun and where it has not ended. A refusal is three requests: with the token that is known, for
    /// another one, and with that one.
    fn most_requests(&self) -> usize {
        let times = usize::try_from(self.time.as_millis().div_ceil(self.fresh.as_millis())).unwrap() + 2;
        3 * KINDS * IMAGES * times
    }

    fn includes(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only))
    }
}

/// What the registry has.
struct Contents {
    digest: String,
    known: Vec<String>,
    asked_while_well: Vec<String>,
    unknown: Vec<String>,
}

impl Contents {
    fn push(registry: &Registry) -> Self {
        let image = crate::support::Image::of("faults");
        let push = |prefix: &str| -> Vec<_> {
            let names: Vec<_> =
                (0..IMAGES).map(|number| format!("app-{}:{prefix}{number}", number % 5)).collect();
            for name in &names {
                let (repository, tag) = name.split_once(':').unwrap();
                registry.push_image(&format!("hub/library/{repository}"), tag, &image);
            }
            names
        };
        Self {
            known: push("known-"),
            asked_while_well: push("well-"),
            unknown: push("unknown-"),
            digest: image.index.digest.clone(),
        }
    }

    fn images(&self, host: &str, names: &[String]) -> Vec<Image> {
        let image = |name: &String| Image {
            written: name.clone(),
            pinned: format!("{host}/hub/library/{name}@{}", self.digest),
        };
        names.iter().map(image).collect()
    }
}

/// A file of names that only one Portolan reads.
struct Names {
    file: PathBuf,
    starter: PathBuf,
}

impl Names {
    fn new() -> std::result::Result<Self, Missing> {
        let folder = folder("names");
        let (file, starter) = (folder.join("hosts"), folder.join("start"));
        fs::write(&file, format!("127.0.0.1 localhost {NAME}\n")).unwrap();
        let script = format!(
            "#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
             exec unshare --user --map-root-user --mount sh -c 'mount --bind {} /etc/hosts && exec \"$@\"' sh \"$@\"\n",
            file.display()
        );
        fs::write(&starter, script).unwrap();
        fs::set_permissions(&starter, fs::Permissions::from_mode(0o755)).unwrap();
        let tried = Command::new(&starter).arg("true").output();
        if tried.is_ok_and(|tried| tried.status.success()) {
            Ok(Self { file, starter })
        } else {
            Err(Missing("no file can be mounted in a namespace of its own (unshare, mount)".to_owned()))
        }
    }

    fn forget(&self) {
        write_in_place(&self.file, "127.0.0.1 localhost\n");
    }
}

/// Not a new file: what is mounted is the old one.
fn write_in_place(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

fn table(host: &str) -> String {
    let authority = authority_pem().replace('\n', "\n      ");
    format!(
        "apiVersion: portolan.dev/v1
kind: MappingTable
rules:
  - source: docker.io
    mirrors: ['{host}/hub']
registries:
  - host: {host}
    ca: |
      {authority}
"
    )
}

/// Known, asked for while all was well, and unknown.
const KINDS: usize = 3;

/// How many images there are of each kind.
const IMAGES: usize = 30;

/// What the registry is called where it has a name.
const NAME: &str = "registry.faults.test";

const LOGIN: &str = "faults:canary-in-the-faults";
const CANARY: &str = "canary-in-the-faults";
