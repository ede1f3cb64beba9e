//! A registry that fails at random, for as long as you like: what Portolan holds stays what it was.

use std::{
    env, fs, thread,
    time::{Duration, Instant},
};

use super::{Contents, Fault, Load, Patient, Result, admit_all};
use crate::support::{Outcome, Registry};

pub fn soak_under_random_faults_leaves_memory_and_files_flat() -> Outcome {
    let time = env::var("PORTOLAN_SOAK_SECONDS").map_or(120, |text| text.parse().expect("seconds"));
    let time = Duration::from_secs(time);
    let registry = Registry::plain()?;
    let contents = Contents::push(&registry);
    let Patient { proxy, portolan, host } = Patient::start(&registry, None, FRESH)?;
    let known = contents.images(&host, &contents.known);
    admit_all(&portolan, &known);
    let unknown = contents.images(&host, &contents.unknown);

    let start = Instant::now();
    let (record, held) = thread::scope(|scope| {
        let load = Load { address: &portolan.address, rate: RATE, time, known: &known, unknown: &unknown };
        let running = scope.spawn(move || load.run());
        let mut held = Vec::new();
        let mut dice = Dice(SEED);
        while start.elapsed() < time {
            // Well every second time.
            proxy.set(if dice.roll(2) == 0 { Fault::None } else { FAULTS[dice.roll(FAULTS.len())] });
            for _ in 0..=dice.roll(3) {
                thread::sleep(Duration::from_secs(1));
                held.push(Held::by(portolan.process.id()));
            }
        }
        (running.join().unwrap(), held)
    });

    let count = |result| record.iter().filter(|one| one.result == result).count();
    assert_eq!((count(Result::Failed), count(Result::Denied), count(Result::PinnedWrong)), (0, 0, 0));
    let unpinned = record.iter().filter(|one| one.known && one.result == Result::Unpinned).count();
    assert_eq!(unpinned, 0, "known images unpinned");
    assert_eq!(proxy.leaks(), 0, "credentials went elsewhere");
    // The first third fills memory with all there is; after it the least held at any moment stays the same.
    let third = held.len() / 3;
    let [before, after] = [&held[third..2 * third], &held[2 * third..]].map(Held::least);
    println!("{} admissions; held at the least, before {before:?}, after {after:?}", record.len());
    assert!(after.memory <= before.memory + before.memory / 10 + 2 * MIB, "{before:?} {after:?}");
    assert!(after.files <= before.files + 8, "{before:?} {after:?}");
    assert!(after.threads <= before.threads + 2, "{before:?} {after:?}");
    Ok(())
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Resident, in bytes.
    memory: u64,
    files: usize,
    threads: usize,
}

impl Held {
    fn by(process: u32) -> Self {
        let entries = |folder| fs::read_dir(format!("/proc/{process}/{folder}")).unwrap().count();
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        Self { memory: kibibytes * 1024, files: entries("fd"), threads: entries("task") }
    }

    /// The least of each.
    fn least(moments: &[Self]) -> Self {
        Self {
            memory: moments.iter().map(|held| held.memory).min().unwrap(),
            files: moments.iter().map(|held| held.files).min().unwrap(),
            threads: moments.iter().map(|held| held.threads).min().unwrap(),
        }
    }
}

/// A sequence that is the same each time (xorshift).
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// Those that end, and after which a registry is the same as before; not 404, nor a wrong digest, which are believed.
const FAULTS: [Fault; 20] = [
    Fault::BlackHole,
    Fault::ByteByByte,
    Fault::CertificateExpired,
    Fault::CertificateOfAnother,
    Fault::DigestIsNone,
    Fault::Endless,
    Fault::EverySecond,
    Fault::HtmlPage,
    Fault::Latency(Duration::from_secs(5)),
    Fault::LengthWrong,
    Fault::Limited(None),
    Fault::Limited(Some(1)),
    Fault::MalformedChallenge,
    Fault::RedirectElsewhere,
    Fault::RedirectLoop,
    Fault::Reset,
    Fault::Schema1,
    Fault::Status(500),
    Fault::TokenServerDown,
    Fault::Truncated,
];

const FRESH: Duration = Duration::from_secs(2);

/// Admissions a second.
const RATE: u32 = 40;

const SEED: u64 = 0x0070_6f72_746f_6c61;

const MIB: u64 = 1024 * 1024;
