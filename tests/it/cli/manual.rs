use std::{collections::BTreeSet, process::Command};

use super::{Ended, Folder};

const COMMANDS: [&str; 13] = [
    "certs",
    "check",
    "completions",
    "copy",
    "explain",
    "export",
    "images",
    "import",
    "load",
    "lock",
    "man",
    "save",
    "serve",
];

impl Folder {
    async fn manual(&self, arguments: &[&str]) -> String {
        let Ended { code, stdout, stderr, .. } = self.run(arguments).await;
        assert_eq!((code, &*stderr), (0, ""), "{arguments:?}");
        stdout
    }
}

#[tokio::test]
async fn bash_completes_commands_and_flags_by_the_script() {
    let folder = Folder::new();
    let script = folder.manual(&["completions", "bash"]).await;
    folder.write("completions.bash", &script);
    for (line, expected) in [("sa", "save"), ("load --ta", "--table"), ("export host", "hosts.toml")] {
        let ask = format!(
            ". ./completions.bash; COMP_WORDS=(portolan {line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _portolan portolan \
             \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo ${{COMPREPLY[*]}}"
        );
        let output = Command::new("bash").args(["-c", &ask]).current_dir(folder.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{output:?}");
    }
}

#[tokio::test]
async fn each_shell_has_a_script_that_knows_every_command() {
    let folder = Folder::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = folder.manual(&["completions", shell]).await;
        for command in COMMANDS {
            assert!(script.contains(command), "{command} for {shell}");
        }
    }
}

#[tokio::test]
async fn every_command_has_a_page_with_its_flags_and_examples() {
    let folder = Folder::new();
    assert_eq!(folder.manual(&["man", "--dir", "share/man1"]).await, "");
    let pages: BTreeSet<_> = std::fs::read_dir(folder.path().join("share/man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut expected: BTreeSet<_> = COMMANDS.map(|command| format!("portolan-{command}.1")).into();
    expected.insert("portolan.1".to_owned());
    assert_eq!(pages, expected);
    let page = std::fs::read_to_string(folder.path().join("share/man1/portolan-load.1")).unwrap();
    for text in [r"\fB\-\-table\fR", "portolan load bundle.tar", "Exit codes"] {
        assert!(page.contains(text), "{page}");
    }
    let own = folder.manual(&["man"]).await;
    assert_eq!(
        own.trim_end(),
        std::fs::read_to_string(folder.path().join("share/man1/portolan.1")).unwrap().trim_end()
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = Folder::new();
    folder.write("taken", "a file");
    let ended = folder.run(&["man", "--dir", "taken"]).await;
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("cannot write the pages into `taken`"), "{}", ended.stderr);
}
