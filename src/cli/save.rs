//! `portolan save`: images into one OCI image layout.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::Args;

use super::{
    ExitStatus, Printer,
    image_list::ImageList,
    progress::{Progress, ProgressFormat, amount},
    registries::movable,
    since::Known,
    table_args::read_table_file,
};
use crate::{
    image::Platform,
    transfer::{Event, Layout, RetryPolicy, Saved, Since, StoreError, TransferOptions, save},
};

/// What `save` is asked.
#[derive(Debug, Args)]
#[command(
    after_help = "Digests are kept to the byte and checked on the way; blobs that images share are there once. A run that
was ended, by whatever, is run again and goes on where it was. Images that an earlier run has saved stay.
skopeo reads the layout (`skopeo inspect oci:DIR:docker.io/library/nginx:1.25`, `oci-archive:` for a tar
file), other tools too; `ctr --namespace k8s.io images import bundle.tar` puts a tar file into a node's
containerd. A tar file is made at the end, out of the folder DEST.tar.partial beside it, and takes the
place of one that was there; until then that needs room for both. The folder stays for the next run if
an image is not saved.

With `--since` only what is new is carried. An image that a layout has under the same name and digest, or that the lock
has with that digest in every place where the table brings it, is left out. (Of images that no rule of the table speaks
of, a line of the lock counts whose repository ends in the image's path, with its tag and digest.) Of the other images
the blobs that a layout has are left out: `load` takes them over from where the earlier images went, and names what it
does not find. The flag may be given several times. So each layout has to be loaded after those that it was saved since.

With `--progress json` each line on stderr is an object whose `event` says what it is: `progress` (at most once a second,
and at the end: `images`, how many `ended` and `failed`, `bytes` known to be needed, `moved` and `there` of them,
`secondsLeft` or null), `image` (`image`, `state`: saved, carried-before or failed, `digest`, `size`, `fetched`,
`carriedBefore`; `error` and `remedy` of a failed one), `retry` (`image`, `error`, `pauseSeconds`), and `note`, `warning`,
`error` and `hint`, each with a `message`.

Logins are yours: of `$REGISTRY_AUTH_FILE` alone, if that is set; else the first for the repository
in `$XDG_RUNTIME_DIR/containers/auth.json`, in `$XDG_CONFIG_HOME/containers/auth.json` (`~/.config`)
and in `$DOCKER_CONFIG/config.json` (`~/.docker`). Credential helpers that these name are asked, for
30 s at most.

Examples:
  portolan save --images images.txt bundle.tar
  helm template my-chart | portolan save --images - --platform linux/amd64,linux/arm64 bundle
  portolan save --images images.txt --since bundle.tar bundle-2.tar
  portolan save --images images.txt --since lock.txt --table mirrors.yaml bundle-2.tar

Exit codes:
  0  every image is in the layout, or left out by `--since`
  1  one of them is not; the others are
  2  the list, a document in it or what `--since` names cannot be read, or the layout not written"
)]
pub(super) struct SaveArgs {
    /// File with the images: a plain list, one a line, or manifests; `-` reads stdin
    #[arg(long, value_name = "FILE")]
    images: String,

    /// Platforms, such as `linux/amd64` or `linux/arm/v7`, or `all`. Indexes are kept as they are; what they have for
    /// others is left out, and many registries refuse such an index
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', default_value = "all")]
    platform: Vec<String>,

    /// Take along layers too that may not be given to others (Windows base layers of older images)
    #[arg(long)]
    nondistributable: bool,

    /// What is on the other side already and is not carried again: a lock that `load` wrote there, or a layout (folder or
    /// tar file) that an earlier `save` made
    #[arg(long, value_name = "LOCK|LAYOUT")]
    since: Vec<PathBuf>,

    /// File with a mapping table, of which `registries` alone counts: how they are reached. With a lock for `--since` its
    /// rules count too
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,

    /// How many blobs are fetched at once
    #[arg(long, value_name = "NUMBER", default_value = "6", value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,

    /// How often something that may pass (a lost connection, 429, 5xx) is tried again without any progress
    #[arg(long, value_name = "NUMBER", default_value = "5", value_parser = clap::value_parser!(u16).range(0..=100))]
    retries: u16,

    /// How progress is shown on stderr
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto")]
    progress: ProgressFormat,

    /// Folder of the layout, made if it is not there; or a tar file, if the name ends in `.tar`
    #[arg(value_name = "DEST.tar|DIR")]
    destination: PathBuf,
}

pub(super) fn run(args: &SaveArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    if args.progress == ProgressFormat::Json {
        Printer::speak_json();
    }
    let options = TransferOptions {
        platforms: platforms(&args.platform)?,
        with_nondistributable: args.nondistributable,
        at_once: args.parallel.into(),
        retry: RetryPolicy { retries: args.retries.into(), ..RetryPolicy::default() },
    };
    let table = args.table.as_deref().map(|path| read_table_file(path, printer)).transpose()?;
    let content = movable(table.as_ref())?;
    let list = ImageList::read(&args.images, printer);
    match list {
        ImageList { ref images, invalid: 0, unread } if images.is_empty() => {
            if unread > 0 {
                return Ok(ExitStatus::Unknown);
            }
            bail!("there is no image in `{}`", args.images);
        }
        _ => {}
    }
    let shown = args.destination.display().to_string();
    let archive = args.destination.extension().is_some_and(|extension| extension == "tar");
    let folder = if archive { partial(&args.destination) } else { args.destination.clone() };
    let known = Known::read(&args.since, &[&args.destination, &folder])?;
    let layout = match Layout::open(&folder) {
        Ok(layout) => Arc::new(layout),
        Err(error) => return Ok(broken(error, printer)),
    };

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let progress = Progress::new(list.images.len(), args.progress, options.at_once, printer);
    let run = |since: Option<&Since<'_>>| {
        let tell = |event: Event<'_>| progress.on(&event);
        let save = save(&content, Arc::clone(&layout), &list.images, since, &options, &tell);
        runtime.block_on(progress.beside(save))
    };
    let saved = match &known {
        Some(known) => known.with(table.as_ref(), |since| run(Some(since))),
        None => run(None),
    };
    // Blocks that are still on their way to the disk are waited for.
    drop(runtime);
    let (received, kept) = progress.finish();
    let results = match saved {
        Ok(results) => results,
        Err(error) => return Ok(broken(error, printer)),
    };

    let missing = results.iter().filter(|result| result.is_err()).count() + list.invalid;
    let layout = Arc::into_inner(layout).context("the layout is still in use")?;
    let is_any = results.iter().any(Result::is_ok);
    let finished = match (archive, missing) {
        (false, 0) => layout.finish(),
        (true, 0) => layout.write_archive(&args.destination).and_then(|()| layout.remove()),
        (true, _) if is_any => layout.write_archive(&args.destination),
        // What was begun stays for the next run.
        _ => Ok(()),
    };
    if let Err(error) = finished {
        return Ok(broken(error, printer));
    }
    let all = list.images.len() + list.invalid;
    let left_out = results.iter().flatten().filter(|saved| !saved.is_carried).count();
    let saved = all - missing - left_out;
    let mut text = format!(
        "{saved} of {all} images are in `{shown}`: {} fetched, {} were there",
        amount(received),
        amount(kept)
    );
    if known.is_some() {
        let earlier = results.iter().flatten().map(|saved: &Saved| saved.earlier).sum();
        let _ = write!(text, "; {left_out} were carried before, and of the others {}", amount(earlier));
    }
    printer.note(&text);
    Ok(if missing > 0 {
        ExitStatus::No
    } else if list.unread > 0 {
        ExitStatus::Unknown
    } else {
        ExitStatus::Yes
    })
}

/// Where a tar file comes together.
fn partial(archive: &Path) -> PathBuf {
    let mut name = archive.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// The platforms asked for; none: all.
pub(super) fn platforms(written: &[String]) -> anyhow::Result<Vec<Platform>> {
    if written.iter().any(|platform| platform == "all") {
        return if written.len() == 1 {
            Ok(Vec::new())
        } else {
            bail!("`all` has every platform: name no other")
        };
    }
    let read = |text: &String| text.parse().with_context(|| format!("`{text}` is no platform"));
    written.iter().map(read).collect()
}

/// Says what is wrong with the layout, and what to do about it.
fn broken(error: StoreError, printer: &mut Printer) -> ExitStatus {
    let remedy = error.remedy();
    printer.error(&anyhow::Error::new(error));
    if let Some(remedy) = remedy {
        printer.hint(remedy);
    }
    ExitStatus::Unknown
}
