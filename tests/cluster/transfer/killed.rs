//! Killed at ten random byte counts and resumed: nothing is transferred twice but what was in flight.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use super::HEAD;
use crate::support::{Gate, Image, Outcome, Registry, Side, binary, folder};

pub fn killed_at_ten_random_byte_counts_a_load_sends_nothing_twice() -> Outcome {
    let scene = Scene::new(Side::Client)?;
    scene.succeed("save --table table.yaml --images images.txt bundle");
    scene.kill_while_sending("load bundle --table table.yaml --lock lock.txt");
    Ok(())
}

pub fn killed_at_ten_random_byte_counts_a_copy_fetches_and_sends_nothing_twice() -> Outcome {
    let scene = Scene::new(Side::Client)?;
    scene.kill_while_sending("copy --images images.txt --table table.yaml --lock lock.txt");
    Ok(())
}

pub fn killed_at_ten_random_byte_counts_a_save_goes_on_behind_the_last_byte_kept() -> Outcome {
    let scene = Scene::new(Side::Server)?;
    let command = "save --table table.yaml --images images.txt bundle";
    let (mut dice, all) = (Dice::new(), scene.blobs_size());
    for _ in 0..KILLS {
        let kept = scene.kept();
        let before = scene.from.accesses().len();
        scene.kill_after(command, dice.roll(all / KILLS));
        scene.assert_fetched(&kept, before, false);
    }
    let kept = scene.kept();
    assert!(kept.values().any(|(_, is_whole)| *is_whole), "something was done: {kept:?}");
    assert!(kept.len() < scene.blobs().len(), "something is left to do");
    let before = scene.from.accesses().len();
    scene.gate.open(u64::MAX);
    scene.succeed(command);
    scene.assert_fetched(&kept, before, true);
    for blob in scene.images.values().flat_map(|image| &image.blobs) {
        let path = scene.folder.join("bundle/blobs").join(blob.digest.replace(':', "/"));
        assert_eq!(fs::read(path).unwrap(), blob.bytes);
    }
    Ok(())
}

/// A registry with images, an empty one, and a gate before the one that is sent to, or fetched from.
struct Scene {
    from: Registry,
    to: Registry,
    gate: Gate,
    folder: PathBuf,
    images: BTreeMap<String, Image>,
}

impl Scene {
    fn new(side: Side) -> Result<Self, crate::support::Missing> {
        let (from, to, folder) = (Registry::plain()?, Registry::plain()?, folder("killed"));
        let is_sending = side == Side::Client;
        let gate = Gate::start(if is_sending { to.host() } else { from.host() }, side);
        let [from_host, to_host] = if is_sending {
            [from.host(), gate.address().to_owned()]
        } else {
            [gate.address().to_owned(), to.host()]
        };
        let mut images = BTreeMap::new();
        let (mut dice, mut list) = (Dice(7), String::new());
        // What is fetched is kept in blocks, of which a layer has some; what is sent is not.
        let (count, layer) = if is_sending { (24, 256 * 1024) } else { (12, 1024 * 1024) };
        for number in 0..count {
            let program = folder.join("program");
            let bytes: Vec<_> = (0..layer / 8).flat_map(|_| dice.next().to_le_bytes()).collect();
            fs::write(&program, bytes).unwrap();
            let image = Image::program("app", &program);
            // Every fourth has a second name in the same registry: there its blobs are mounted.
            for team in ["one", "two"].iter().take(1 + usize::from(number % 4 == 3)) {
                let repository = format!("{team}/app-{number}");
                from.push_image(&repository, "1", &image);
                writeln!(list, "{from_host}/{repository}:1").unwrap();
                images.insert(repository, image.clone());
            }
        }
        fs::write(folder.join("images.txt"), list).unwrap();
        let mut table =
            format!("{HEAD}rules:\n- source: '{from_host}'\n  mirrors: ['{to_host}']\nregistries:\n");
        for host in [from_host, to_host] {
            writeln!(table, "- host: '{host}'\n  plainHttp: true").unwrap();
        }
        fs::write(folder.join("table.yaml"), table).unwrap();
        Ok(Self { from, to, gate, folder, images })
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments.split(' ')).args(["--parallel", "2"]).current_dir(&self.folder);
        command
    }

    fn succeed(&self, arguments: &str) {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
        self.until_idle();
    }

    /// Runs a command until so many bytes have passed the gate. SIGKILL. Then the registries' logs have all of it.
    fn kill_after(&self, arguments: &str, bytes: u64) {
        self.gate.open(bytes);
        let mut child = self.command(arguments).stderr(Stdio::null()).spawn().unwrap();
        self.gate.wait_until_shut(LIMIT, || child.try_wait().unwrap().is_some());
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        self.until_idle();
    }

    /// Waits until the logs of both registries have all that was asked for: also that which is not behind the gate.
    fn until_idle(&self) {
        self.gate.wait_until_idle(LIMIT);
        self.from.until_idle();
        self.to.until_idle();
    }

    fn kill_while_sending(&self, command: &str) {
        let (mut dice, all) = (Dice::new(), self.blobs_size());
        for _ in 0..KILLS {
            let (there, before) = (self.taken(), self.from.accesses().len());
            self.kill_after(command, dice.roll(all / KILLS));
            self.assert_not_fetched(&there, before);
        }
        let (there, before) = (self.taken(), self.from.accesses().len());
        assert!(!there.is_empty(), "something was done");
        assert!(there.len() < self.blobs().len(), "something is left to do");
        assert!(!self.folder.join("lock.txt").exists(), "the lock is written at the end");
        self.gate.open(u64::MAX);
        self.succeed(command);
        self.assert_not_fetched(&there, before);

        // All that the registry was sent, whatever it said to it: what a repository had taken was not sent there again.
        let (mut taken, mut broken) = (BTreeSet::new(), 0);
        for (place, status) in self.puts() {
            assert!(!taken.contains(&place), "{place:?} was sent again");
            if status == "201" {
                taken.insert(place);
            } else {
                broken += 1;
            }
        }
        let digests: BTreeSet<_> = taken.iter().map(|(_, digest)| digest.clone()).collect();
        assert_eq!(digests, self.blobs().into_keys().collect());
        // Into another repository it may be sent by a run that does not know yet that the first one has it.
        let again = taken.len() - digests.len();
        println!("{KILLS} kills: {broken} uploads broken off, {again} blobs sent to two repositories");
        assert!(again as u64 <= KILLS * PARALLEL, "{again}");
        assert!(broken <= KILLS * PARALLEL, "{broken} were in flight in {KILLS} runs");
        for (repository, image) in &self.images {
            assert_eq!(self.to.digest(repository, "1"), image.index.digest, "{repository}");
        }
        self.succeed_check();
    }

    fn succeed_check(&self) {
        let check = "check --table table.yaml --lock lock.txt images.txt";
        let output =
            Command::new(binary()).args(check.split(' ')).current_dir(&self.folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// All blobs by digest, with their sizes.
    fn blobs(&self) -> BTreeMap<String, u64> {
        let blobs = self.images.values().flat_map(|image| &image.blobs);
        blobs.map(|blob| (blob.digest.clone(), blob.bytes.len() as u64)).collect()
    }

    fn blobs_size(&self) -> u64 {
        self.blobs().values().sum()
    }

    /// The blobs that were put into the target, by repository and digest, each with the status of the answer.
    fn puts(&self) -> Vec<((String, String), String)> {
        let lines = self.to.accesses();
        let puts = lines.iter().filter_map(|line| {
            let (request, answer) = line.split_once("\"PUT /v2/")?.1.split_once('"')?;
            let (repository, upload) = request.split_once("/blobs/uploads/")?;
            let digest = upload.split_once("digest=")?.1.split([' ', '&']).next()?;
            let place = (repository.to_owned(), digest.replace("%3A", ":"));
            Some((place, answer.split_whitespace().next()?.to_owned()))
        });
        puts.collect()
    }

    /// The blobs that the target has taken until now.
    fn taken(&self) -> BTreeSet<(String, String)> {
        self.puts().into_iter().filter(|(_, status)| status == "201").map(|(place, _)| place).collect()
    }

    /// The blobs that were fetched, from that line of the log on, each with the status of the answer and the bytes sent.
    fn fetched(&self, before: usize) -> Vec<((String, String), String, u64)> {
        let lines = self.from.accesses();
        let gets = lines[before..].iter().filter_map(|line| {
            let (request, answer) = line.split_once("\"GET /v2/")?.1.split_once('"')?;
            let (repository, blob) = request.split_once("/blobs/")?;
            let place = (repository.to_owned(), blob.split(' ').next()?.to_owned());
            let mut answer = answer.split_whitespace();
            Some((place, answer.next()?.to_owned(), answer.next()?.parse().ok()?))
        });
        gets.collect()
    }

    /// Sees to it that what was there was not fetched.
    fn assert_not_fetched(&self, there: &BTreeSet<(String, String)>, before: usize) {
        for (place, ..) in self.fetched(before) {
            assert!(!there.contains(&place), "{place:?} was fetched although it was there");
        }
    }

    /// What the layout has: by digest how many bytes, and whether that is the whole blob.
    fn kept(&self) -> BTreeMap<String, (u64, bool)> {
        let mut kept = BTreeMap::new();
        for (digest, _) in self.blobs() {
            let whole = self.folder.join("bundle/blobs").join(digest.replace(':', "/"));
            let part = self.folder.join("bundle/.portolan").join(digest.replace(':', "-"));
            if let Ok(file) = fs::metadata(whole) {
                kept.insert(digest, (file.len(), true));
            } else if let Ok(file) = fs::metadata(part) {
                kept.insert(digest, (file.len(), false));
            }
        }
        kept
    }

    /// Sees to it that nothing was fetched that the layout had before. Only the answers of a run that was not killed
    /// are all there is of them.
    fn assert_fetched(&self, kept: &BTreeMap<String, (u64, bool)>, before: usize, is_complete: bool) {
        let sizes = self.blobs();
        let mut seen = BTreeSet::new();
        for ((_, digest), status, bytes) in self.fetched(before) {
            let (length, is_whole) = kept.get(&digest).copied().unwrap_or_default();
            assert!(!is_whole, "{digest} was fetched although it was there");
            assert_eq!(
                status,
                if length > 0 { "206" } else { "200" },
                "{digest}, of which {length} bytes are there"
            );
            if is_complete {
                assert_eq!(bytes, sizes[&digest] - length, "{digest}");
                assert!(seen.insert(digest.clone()), "{digest} was fetched twice");
            }
        }
    }
}

/// xorshift64*.
struct Dice(u64);

impl Dice {
    /// Another one each time; `PORTOLAN_KILL_SEED` makes it the same again.
    fn new() -> Self {
        let given = std::env::var("PORTOLAN_KILL_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("PORTOLAN_KILL_SEED={seed}");
        Self(seed | 1)
    }

    /// From 1 to that number.
    fn roll(&mut self, most: u64) -> u64 {
        1 + self.next() % most
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

const KILLS: u64 = 10;
const PARALLEL: u64 = 2;

const LIMIT: Duration = Duration::from_secs(180);
