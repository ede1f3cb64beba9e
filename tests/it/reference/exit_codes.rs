//! The page about exit codes: what [`ExitStatus`] says of them, and what each command's help does.

use std::{collections::BTreeMap, fmt::Write as _, process::Command};

use portolan::cli::ExitStatus;

use super::{compare, documented};

#[test]
fn the_page_about_exit_codes_has_every_command() {
    let about = documented("src/cli.rs");
    let mut page = String::from(
        "# Exit codes\n\nAlike for every command. A broken pipe is 0: whoever read the output has seen enough.\n\n\
         | code | meaning |\n|---|---|\n",
    );
    for status in ExitStatus::ALL {
        writeln!(page, "| {} | {} |", status.code(), about[&format!("{status:?}")]).unwrap();
    }
    page.push_str("\n| command | code | meaning |\n|---|---|---|\n");
    let commands = commands();
    assert!(commands.contains(&"explain".to_owned()), "{commands:?}");
    for command in &commands {
        let codes = codes(&help(&[command]));
        assert!(!codes.is_empty(), "`portolan {command} --help` has no section `Exit codes:`");
        for (code, meaning) in codes {
            assert!(ExitStatus::ALL.iter().any(|status| status.code() == code), "{command}: {code}");
            writeln!(page, "| `{command}` | {code} | {meaning} |").unwrap();
        }
    }
    compare("exit-codes.md", &page);
}

/// Every command, by what `--help` lists.
fn commands() -> Vec<String> {
    let help = help(&[]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    // A description that goes on stands further in.
    let lines = list.lines().take_while(|line| !line.is_empty());
    let commands = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let names = commands.filter_map(|line| line.split(' ').next());
    names.filter(|name| *name != "help").map(Into::into).collect()
}

/// The codes in a command's help. A line that goes on has no code.
fn codes(help: &str) -> BTreeMap<u8, String> {
    let mut codes = BTreeMap::new();
    let mut last = None;
    let list = help.split_once("Exit codes:\n").map_or("", |(_, list)| list);
    for line in list.lines().take_while(|line| !line.trim().is_empty()) {
        let line = line.trim();
        let code =
            line.split_once("  ").and_then(|(code, meaning)| Some((code.parse::<u8>().ok()?, meaning)));
        if let Some((code, meaning)) = code {
            codes.insert(code, meaning.trim().to_owned());
            last = Some(code);
        } else {
            let meaning = last.and_then(|code| codes.get_mut(&code)).expect("a code comes first");
            meaning.push(' ');
            meaning.push_str(line);
        }
    }
    codes
}

fn help(command: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_portolan")).args(command).arg("--help").env_clear().output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
