//! `portolan save`: images into one OCI image layout.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::Args;

use super::{
    ExitStatus, Printer,
    image_list::ImageList,
    progress::{Progress, amount},
    registries::movable,
    table_args::read_table_file,
};
use crate::{
    image::Platform,
    transfer::{Layout, RetryPolicy, StoreError, TransferOptions, save},
};

/// What `save` is asked.
#[derive(Debug, Args)]
#[command(
    after_help = "Digests are kept to the byte and checked on the way; blobs that images share are there once. A run that
was ended, by whatever, is run again and goes on where it was. Images that an earlier run has saved stay.
skopeo reads the layout (`skopeo inspect oci:DIR:docker.io/library/nginx:1.25`, `oci-archive:` for a tar file), other tools
too. A tar file is made at the end, out of the folder DEST.tar.partial beside it, and takes the place of one that was
there; until then that needs room for both. The folder stays for the next run if an image is not saved.

Logins are yours: of `$REGISTRY_AUTH_FILE` alone, if that is set; else the first for the repository
in `$XDG_RUNTIME_DIR/containers/auth.json`, in `$XDG_CONFIG_HOME/containers/auth.json` (`~/.config`)
and in `$DOCKER_CONFIG/config.json` (`~/.docker`). Credential helpers that these name are asked, for
30 s at most.

Examples:
  portolan save --images images.txt bundle.tar
  helm template my-chart | portolan save --images - --platform linux/amd64,linux/arm64 bundle

Exit codes:
  0  every image is in the layout
  1  one of them is not; the others are
  2  the list or a document in it cannot be read, or the layout not written"
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

    /// File with a mapping table, of which `registries` alone counts: how they are reached
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,

    /// How many blobs are fetched at once
    #[arg(long, value_name = "NUMBER", default_value = "6", value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,

    /// How often something that may pass (a lost connection, 429, 5xx) is tried again without any progress
    #[arg(long, value_name = "NUMBER", default_value = "5", value_parser = clap::value_parser!(u16).range(0..=100))]
    retries: u16,

    /// Folder of the layout, made if it is not there; or a tar file, if the name ends in `.tar`
    #[arg(value_name = "DEST.tar|DIR")]
    destination: PathBuf,
}

pub(super) fn run(args: &SaveArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
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
    let layout = match Layout::open(&folder) {
        Ok(layout) => Arc::new(layout),
        Err(error) => return Ok(broken(error, printer)),
    };

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let progress = Progress::new(list.images.len(), printer);
    let saved = runtime
        .block_on(save(&content, Arc::clone(&layout), &list.images, &options, &|event| progress.on(&event)));
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
    let saved = all - missing;
    printer.note(&format!(
        "{saved} of {all} images are in `{shown}`: {} fetched, {} were there",
        amount(received),
        amount(kept)
    ));
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
