//! `portolan copy`: images from where they are to where the table says, without a file between.

use anyhow::bail;
use clap::Args;

use super::{ExitStatus, Printer, image_list::ImageList, placing::PlacingArgs, save::platforms};
use crate::transfer::{Source, TransferOptions};

/// What `copy` is asked.
#[derive(Debug, Args)]
#[command(
    after_help = "As `save` and `load` in one, for a machine that reaches both sides: nothing is kept on its disk. Blobs go
from one registry to the other as they come, checked on the way. What is there is neither fetched nor sent again.
Events of `--progress json` are those of `load`.

Registries are asked with your logins: those of podman, of docker and of their credential helpers
(`portolan save --help` says where they are looked for).

Examples:
  portolan copy --images images.txt --table mirrors.yaml --lock lock.txt
  helm template my-chart | portolan copy --images - --table mirrors.yaml

Exit codes:
  0  every image is in its places
  1  one of them is not; the others are
  2  the list, the table or the lock cannot be read, or the lock not written"
)]
pub(super) struct CopyArgs {
    /// File with the images: a plain list, one a line, or manifests; `-` reads stdin
    #[arg(long, value_name = "FILE")]
    images: String,

    #[command(flatten)]
    placing: PlacingArgs,

    /// Platforms, such as `linux/amd64` or `linux/arm/v7`, or `all`. Indexes are kept as they are; what they have for
    /// others is left out, and many registries refuse such an index
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', default_value = "all")]
    platform: Vec<String>,

    /// Take along layers too that may not be given to others (Windows base layers of older images)
    #[arg(long)]
    nondistributable: bool,
}

pub(super) fn run(args: &CopyArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let mut plan = args.placing.open(printer)?;
    let options = TransferOptions {
        platforms: platforms(&args.platform)?,
        with_nondistributable: args.nondistributable,
        ..TransferOptions::default()
    };
    let list = ImageList::read(&args.images, printer);
    if list.images.is_empty() && list.invalid == 0 {
        if list.unread > 0 {
            return Ok(ExitStatus::Unknown);
        }
        bail!("there is no image in `{}`", args.images);
    }
    plan.lost += list.invalid;
    for image in &list.images {
        plan.add(image, Source::Registry, printer);
    }
    let ended = args.placing.run(plan, options, printer)?;
    Ok(if ended == ExitStatus::Yes && list.unread > 0 { ExitStatus::Unknown } else { ended })
}
