//! Other tools' tables: what the mapping table is in their words, and what their words are as a table. One file for each
//! format.
//!
//! What a format cannot say is never left out in silence: it comes back as a warning beside the text. Nothing is read here
//! but texts that are handed in; the one who calls knows files.

mod admission_policy;
mod draft;
mod endpoint;
mod harbor_container_webhook;
mod hosts_toml;
mod imageswap;
mod import;
mod k8s_image_swapper;
mod kubespray;
mod mirror_sets;
mod node_rules;
mod pattern;
mod recognise;
mod registries_conf;
mod registries_yaml;
mod text;

pub use admission_policy::{
    Cover, LabelledPods, TooLargeError, mutating_admission_policy, validating_admission_policy,
};
pub use hosts_toml::hosts_toml;
pub use import::{File, ImportError, Imported, Kind, import};
pub use mirror_sets::{image_digest_mirror_set, image_tag_mirror_set};
pub use recognise::recognise;
pub use registries_conf::registries_conf;
pub use registries_yaml::registries_yaml;

/// A table in another tool's words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exported {
    /// What that tool reads.
    pub text: String,
    /// What the table says and the text does not, and what is to be known about it.
    pub warnings: Vec<String>,
}

/// A table in the words of a tool that reads several files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExportedFiles {
    /// The files: each with its path below a folder, and its text.
    pub files: Vec<(String, String)>,
    /// What the table says and the files do not, and what is to be known about them.
    pub warnings: Vec<String>,
}

/// The rules of some lines, in words; `None`: there is no line.
fn rules_of_lines(lines: &[usize]) -> Option<String> {
    let words: Vec<_> = lines.iter().take(NAMED_LINES).map(ToString::to_string).collect();
    match lines {
        [] => None,
        [line] => Some(format!("the rule of line {line}")),
        lines if lines.len() <= NAMED_LINES => Some(format!("the rules of lines {}", words.join(", "))),
        lines => Some(format!("{} rules (lines {}, …)", lines.len(), words.join(", "))),
    }
}

/// What a text that was made says about itself.
const MADE: &str = "Made by `portolan export` from a mapping table; make it anew when the table changes.";

/// How many lines of rules a warning names.
const NAMED_LINES: usize = 5;
