//! Where texts come from: files, folders, stdin or the running cluster. What cannot be read is named, and the rest is.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;

use super::{Printer, printer::plain};
use crate::{
    cluster::{self, Listed},
    inventory::{self, Content, Document, Inventory, Names, Value},
};

/// Where the images are.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// Manifests (YAML, JSON), plain lists of images, or folders with manifests; `-` reads stdin
    #[arg(value_name = "PATH", required_unless_present = "cluster", conflicts_with = "cluster")]
    paths: Vec<String>,

    /// The running cluster: its Pods as they were written, and the templates that it makes Pods from
    #[arg(long)]
    cluster: bool,
}

impl SourceArgs {
    /// A client of the running cluster, if that is what is asked about.
    pub(super) async fn connect(&self) -> anyhow::Result<Option<cluster::Client>> {
        if !self.cluster {
            return Ok(None);
        }
        let client = cluster::Client::connect(cluster::WatchPolicy::default()).await;
        client.map(Some).context("cannot look into the running cluster")
    }

    /// Reads everything, hands over the documents of one text after the other, and says how many texts or parts of
    /// them could not be read. Each was named on stderr.
    pub(super) async fn read(
        &self,
        client: Option<&cluster::Client>,
        printer: &mut Printer,
        mut take: impl FnMut(Vec<Document>),
    ) -> anyhow::Result<usize> {
        let mut unread = 0;
        for path in &self.paths {
            unread += read_path(path, printer, &mut take);
        }
        if let Some(client) = client.filter(|_| self.cluster) {
            read_cluster(client, take).await?;
        }
        Ok(unread)
    }
}

/// Reads a file, the manifests in a folder, or stdin for `-`, as [`SourceArgs::read`] does.
pub(super) fn read_path(path: &str, printer: &mut Printer, take: &mut impl FnMut(Vec<Document>)) -> usize {
    if path == "-" {
        let text = read_text(io::stdin().lock()).context("cannot read stdin");
        return take_text("-", text, printer, take);
    }
    let path = Path::new(path);
    let (mut files, mut unread) = (Vec::new(), 0);
    if path.is_dir() {
        manifests_in(path, &mut files, &mut |error| {
            unread += 1;
            printer.error(&error);
        });
        files.sort();
    } else {
        files.push(path.to_path_buf());
    }
    for file in files {
        let name = plain(&file.display().to_string());
        let text = fs::File::open(&file).and_then(read_text).with_context(|| format!("cannot read `{name}`"));
        unread += take_text(&name, text, printer, take);
    }
    unread
}

/// Hands over what is in a text, and says how much of it could not be read.
fn take_text(
    name: &str,
    text: anyhow::Result<String>,
    printer: &mut Printer,
    take: &mut impl FnMut(Vec<Document>),
) -> usize {
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            printer.error(&error);
            return 1;
        }
    };
    let Inventory { documents, problems } = inventory::read(name, &text);
    let unread = problems.len();
    for problem in problems.into_iter().take(MOST_PROBLEMS) {
        printer.error(&anyhow::Error::new(problem).context("cannot read a document"));
    }
    if unread > MOST_PROBLEMS {
        printer.error(&anyhow::anyhow!("cannot read {} more of `{name}`", unread - MOST_PROBLEMS));
    }
    take(documents);
    unread
}

/// Reads no more than can be looked into, so that what has no end does not take all memory.
fn read_text(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(MOST_TEXT).unwrap_or(u64::MAX);
    let read = source.take(limit + 1).read_to_string(&mut text);
    if text.len() > MOST_TEXT {
        return Err(io::Error::other("it has more than 128 MiB: split it"));
    }
    read.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => io::Error::other("it is no text (UTF-8): name manifests or lists"),
        _ => error,
    })?;
    Ok(text)
}

/// Reads the namespaces and workloads of the running cluster.
async fn read_cluster(client: &cluster::Client, mut take: impl FnMut(Vec<Document>)) -> anyhow::Result<()> {
    for listed in [&[Listed::Namespaces][..], &Listed::WORKLOADS].concat() {
        let mut unreadable = 0;
        let read = cluster::read_list(client, listed, |page| {
            let Inventory { mut documents, problems } = inventory::read("cluster", page);
            unreadable += problems.len();
            documents.retain(|document| !is_over(document));
            take(documents);
        });
        let (_, resource) = listed.resource();
        read.await.with_context(|| format!("cannot list the cluster's {resource}"))?;
        anyhow::ensure!(unreadable == 0, "cannot read the cluster's {resource}");
    }
    Ok(())
}

/// Whether a Pod or Job has run to its end: nothing is pulled for it any more.
fn is_over(document: &Document) -> bool {
    let Content::Object(object) = &document.content else { return false };
    let status = |key| object.at(&["status", key]);
    match &*Names::of(object).kind {
        "Job" => {
            let conditions = status("conditions").and_then(Value::as_list).unwrap_or_default();
            conditions.iter().any(|condition| {
                let text = |key| condition.get(key).and_then(Value::as_text);
                matches!(text("type"), Some("Complete" | "Failed")) && text("status") == Some("True")
            })
        }
        "Pod" => matches!(status("phase").and_then(Value::as_text), Some("Failed" | "Succeeded")),
        _ => false,
    }
}

/// The manifests in a folder and those below it, by their names. A folder that cannot be read does not keep the others
/// from being read.
fn manifests_in(folder: &Path, files: &mut Vec<PathBuf>, failed: &mut impl FnMut(anyhow::Error)) {
    let unreadable = || format!("cannot read the folder `{}`", plain(&folder.display().to_string()));
    let entries = match fs::read_dir(folder).with_context(unreadable) {
        Ok(entries) => entries,
        Err(error) => return failed(error),
    };
    for entry in entries {
        let kind = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)));
        match kind.with_context(unreadable) {
            // Links to folders are not followed: they may lead back.
            Ok((path, kind)) if kind.is_dir() => manifests_in(&path, files, failed),
            Ok((path, kind)) => {
                let is_manifest = path.extension().is_some_and(|extension| {
                    extension == "yaml" || extension == "yml" || extension == "json"
                });
                // What a link leads to may be gone, or lead back to itself: reading it says so.
                if is_manifest && (path.is_file() || kind.is_symlink() && fs::metadata(&path).is_err()) {
                    files.push(path);
                }
            }
            Err(error) => failed(error),
        }
    }
}

/// How much of one text is read.
const MOST_TEXT: usize = 128 * 1024 * 1024;

/// How many problems of one text are named.
const MOST_PROBLEMS: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_and_jobs_that_have_ended_are_over_and_nothing_else_is() {
        for (kind, status, expected) in [
            ("Pod", json!({"phase": "Succeeded"}), true),
            ("Pod", json!({"phase": "Failed"}), true),
            ("Pod", json!({"phase": "Pending"}), false),
            ("Pod", json!({}), false),
            (
                "Job",
                json!({"conditions": [{"type": "Suspended", "status": "False"}, {"type": "Complete", "status": "True"}]}),
                true,
            ),
            ("Job", json!({"conditions": [{"type": "Failed", "status": "True"}]}), true),
            ("Job", json!({"conditions": [{"type": "Failed", "status": "False"}]}), false),
            ("Job", json!({"conditions": [{"type": "Suspended", "status": "True"}]}), false),
            (
                "Deployment",
                json!({"phase": "Failed", "conditions": [{"type": "Failed", "status": "True"}]}),
                false,
            ),
        ] {
            // As the API server lists them.
            let list = json!({"apiVersion": "v1", "kind": "List", "items": [
                {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, "status": status}
            ]});
            let documents = inventory::read("cluster", &list.to_string()).documents;
            let over: Vec<_> = documents.iter().map(is_over).collect();
            assert_eq!(over, [expected], "{list}");
        }
    }
}
