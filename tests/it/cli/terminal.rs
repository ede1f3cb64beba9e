//! Progress as somebody sees it: on a terminal of the system, made by `script` (util-linux).

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use portolan::image::Digest;
use tokio::{io::AsyncReadExt as _, process::Command};

use super::Folder;
use crate::support::{
    LIMIT,
    fake_registry::{FakeRegistry, Fault, in_query},
    stand_in::StandIn,
    terminal::screen,
    webhook,
};

/// A command on a terminal.
struct Shown {
    size: (usize, usize),
    output: Arc<Mutex<Vec<u8>>>,
    ended: tokio::task::JoinHandle<Option<i32>>,
}

impl Folder {
    /// Starts the command on a terminal of so many columns and rows.
    fn show(&self, arguments: &str, size: (usize, usize)) -> Shown {
        self.show_with(&format!("'{}'", env!("CARGO_BIN_EXE_portolan")), arguments, size)
    }

    fn show_with(&self, program: &str, arguments: &str, size: (usize, usize)) -> Shown {
        let command = format!("stty cols {} rows {}; exec {program} {arguments}", size.0, size.1);
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path())
            .env("XDG_RUNTIME_DIR", self.path())
            .env("TERM", "xterm-256color")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(Vec::new()));
        let mut stdout = child.stdout.take().unwrap();
        let into = Arc::clone(&output);
        let ended = tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = stdout.read(&mut buffer).await {
                into.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
            child.wait().await.unwrap().code()
        });
        Shown { size, output, ended }
    }
}

impl Shown {
    /// What is to be seen now.
    fn lines(&self) -> Vec<String> {
        screen(&self.output.lock().unwrap(), self.size)
    }

    /// Waits until a line holds all of these.
    async fn line(&self, parts: &[&str]) -> String {
        let begin = Instant::now();
        loop {
            let lines = self.lines();
            if let Some(line) = lines.iter().find(|line| parts.iter().all(|part| line.contains(part))) {
                return line.clone();
            }
            assert!(begin.elapsed() < LIMIT, "{parts:?} is not to be seen: {lines:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for the end; what is to be seen then.
    async fn end(self) -> (Option<i32>, Vec<String>) {
        let code = tokio::time::timeout(LIMIT, self.ended).await.unwrap().unwrap();
        (code, screen(&self.output.lock().unwrap(), self.size))
    }
}

/// Two images, each with a layer of its own, and one that both have.
struct Two {
    names: [String; 2],
    own: [Bytes; 2],
}

impl Two {
    fn of(registry: &FakeRegistry) -> Self {
        let base = Bytes::from(vec![0; 5 << 20]);
        let own = [1, 2].map(|byte| Bytes::from(vec![byte; 3 << 20]));
        let paths = ["a-rather-long-name/of-a-team/one", "two"];
        for (path, own) in paths.iter().zip(&own) {
            registry.put_image(path, "1", &StandIn::single("linux/amd64", &[base.clone(), own.clone()]));
        }
        Self { names: paths.map(|path| format!("{}/{path}:1", registry.host())), own }
    }

    /// Stops the layers of their own, after 2 MiB, at a registry.
    fn hold(&self, registry: &FakeRegistry) {
        for own in &self.own {
            registry.fault_at(&format!("/blobs/{}", Digest::of(own)), Fault::Hold(2 << 20));
        }
    }

    /// Waits for a good end: what became of both is said, and no bar is left.
    async fn are_all_that_is_said(&self, shown: Shown, done: &str) {
        let (code, lines) = shown.end().await;
        assert_eq!(code, Some(0), "{lines:#?}");
        let said = |name: &str| lines.iter().any(|line| line.starts_with(&format!("{done} {name}")));
        assert!(self.names.iter().all(|name| said(name)), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains('[') || line.contains(" left")), "{lines:#?}");
    }
}

#[tokio::test]
async fn on_a_terminal_each_image_that_moves_has_a_bar_and_they_go_when_it_is_done() {
    let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let two = Two::of(&from);
    let folder = Folder::across(&from, &to);
    folder.write("images.txt", &two.names.join("\n"));
    let save = "save --images images.txt --table table.yaml bundle";
    let copy = "copy --images images.txt --table table.yaml";
    // In a layout, what both have is there once and the matter of the one that moves it. Of two repositories each has it,
    // the second by a mount.
    for (command, done, sum, wholes) in
        [(save, "saved", "9.0 MiB of 11.0 MiB", (1, 1)), (copy, "loaded", "14.0 MiB of 16.0 MiB", (2, 0))]
    {
        two.hold(&from);
        let shown = folder.show(command, (80, 12));
        shown.line(&["] ", &format!("0 of 2 images, {sum}")]).await;
        let (mut whole, mut rest) = (0, 0);
        for parts in [["…", "/one:1 ", "["], ["", "/two:1 ", "["]] {
            let line = shown.line(&parts).await;
            whole += usize::from(line.contains("7.0 MiB of 8.0 MiB"));
            rest += usize::from(line.contains("2.0 MiB of 3.0 MiB"));
        }
        assert_eq!((whole, rest), wholes, "{:#?}", shown.lines());
        from.heal();
        two.are_all_that_is_said(shown, done).await;
    }
}

#[tokio::test]
async fn images_that_are_loaded_have_their_bars_too() {
    let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let two = Two::of(&from);
    let folder = Folder::across(&from, &to);
    folder.write("images.txt", &two.names.join("\n"));
    let saved = folder.run(&["save", "--images", "images.txt", "--table", "table.yaml", "bundle"]).await;
    assert_eq!(saved.code, 0, "{}", saved.stderr);
    for own in &two.own {
        let query = format!("digest={}", in_query(own));
        to.fault_at(&query, Fault::Hold(1 << 20));
    }
    let shown = folder.show("load bundle --table table.yaml --lock lock.txt", (80, 12));
    // How much of what was written the registry has read, nobody here knows.
    shown.line(&["] ", "0 of 2 images, ", " of 16.0 MiB"]).await;
    for parts in [["…", "/one:1 ", " of 8.0 MiB"], ["", "/two:1 ", " of 8.0 MiB"]] {
        assert!(shown.line(&parts).await.contains('['), "{:#?}", shown.lines());
    }
    to.heal();
    two.are_all_that_is_said(shown, "loaded").await;
}

#[tokio::test]
async fn without_a_terminal_or_where_they_are_not_wanted_there_are_no_bars() {
    let registry = FakeRegistry::start().await;
    let two = Two::of(&registry);
    // So long that bars would be there.
    for own in &two.own {
        registry.fault_at(&format!("/blobs/{}", Digest::of(own)), Fault::Delay(Duration::from_millis(700)));
    }
    let folder = Folder::new();
    let entry = format!("{{host: '{}', plainHttp: true}}", registry.host());
    folder.write("table.yaml", &webhook::table(&[], &[&entry]));
    folder.write("images.txt", &two.names.join("\n"));
    let save = "save --images images.txt --table table.yaml";
    let piped = format!("{save} piped");
    let ended = folder.run(&piped.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines: Vec<_> = ended.stderr.lines().map(str::to_owned).collect();
    let said = |lines: &[String]| {
        let begins = |begin: &str| lines.iter().filter(|line| line.starts_with(begin)).count();
        assert_eq!((lines.len(), begins("saved "), begins("2 of 2 images are in")), (3, 2, 1), "{lines:#?}");
    };
    said(&lines);
    for (environment, arguments) in [("", "--progress plain plain"), ("TERM=dumb", "dumb")] {
        let program = format!("env {environment} '{}'", env!("CARGO_BIN_EXE_portolan"));
        let shown = folder.show_with(&program, &format!("{save} {arguments}"), (200, 12));
        let output = Arc::clone(&shown.output);
        let (code, mut lines) = shown.end().await;
        assert_eq!(code, Some(0), "{lines:#?}");
        lines.pop();
        said(&lines);
        assert!(!output.lock().unwrap().contains(&0x1b), "{lines:#?}");
    }
}
