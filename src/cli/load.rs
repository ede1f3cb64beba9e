//! `portolan load`: images out of a layout to where the table says.

use std::{path::PathBuf, sync::Arc};

use clap::Args;

use super::{ExitStatus, Printer, placing::PlacingArgs};
use crate::{
    image::Reference,
    transfer::{Bundle, BundleError, Packed, Source, TransferOptions},
};

/// What `load` is asked.
#[derive(Debug, Args)]
#[command(
    after_help = "Each image goes to the first mirror of every rule that could match it, those for some namespaces included.
What is there is not sent again, and what another repository of the registry has is taken over from there. A run that was
ended, by whatever, is run again and sends what is missing. Digests are kept to the byte and checked on the way.
A tag or digest that a rule itself names for one image is never taken from another one.

A layout of `save --since` lacks what an earlier one brought: that is taken over from where the images of the earlier
one went. What is not found there is named with its image; load the earlier layout then, and this one again.

Of `docker save` newer tar files hold a layout; for older ones manifests are written, so that digests are new.

With `--progress json` each line on stderr is an object, as `portolan save --help` says; in the place of `image` events come
`place` events: `image`, `reference` (its place), `state` (loaded, there or failed), `digest`, `size`, `sent`, `mounted`;
`error` and `remedy` of a failed one.

Registries are asked with your logins: those of podman, of docker and of their credential helpers
(`portolan save --help` says where they are looked for).

Examples:
  portolan load bundle.tar --table mirrors.yaml --lock lock.txt
  portolan load bundle --table mirrors.yaml -o json
  portolan load nginx.tar --name docker.io/library/nginx:1.25 --table mirrors.yaml

Exit codes:
  0  every image is in its places
  1  one of them is not; the others are
  2  the layout, the table or the lock cannot be read, or the lock not written"
)]
pub(super) struct LoadArgs {
    #[command(flatten)]
    placing: PlacingArgs,

    /// Name of the image, for a layout with one image that does not say its name whole
    #[arg(long, value_name = "IMAGE")]
    name: Option<Reference>,

    /// OCI image layout, a folder or a tar file, of `portolan save`, skopeo (`oci:`, `oci-archive:`, `docker-archive:`) or
    /// `docker save`
    #[arg(value_name = "SRC")]
    source: PathBuf,
}

pub(super) fn run(args: &LoadArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let mut plan = args.placing.open(printer)?;
    let bundle = match Bundle::open(&args.source) {
        Ok(mut bundle) => {
            bundle.place(|image| plan.places(image));
            Arc::new(bundle)
        }
        Err(error) => return Ok(broken(error, printer)),
    };
    let shown = args.source.display();
    if bundle.images().is_empty() {
        if !bundle.is_delta() {
            anyhow::bail!("there is no image in `{shown}`");
        }
        printer.note(&format!("there is nothing new in `{shown}`"));
    }
    if args.name.is_some() && bundle.images().len() > 1 {
        anyhow::bail!("`--name` is for one image, and `{shown}` has {}", bundle.images().len());
    }
    if bundle.is_made() {
        printer.warning(&format!(
            "`{shown}` has no manifests: they are written anew, and digests are not those that the images had before"
        ));
    }
    for packed in bundle.images() {
        let source = Source::Bundle(Arc::clone(&bundle), Packed::clone(packed));
        match (&args.name, &packed.name) {
            (Some(name), _) | (None, Ok(name)) => plan.add(name, source, printer),
            (None, Err(called)) => {
                let known = if called.is_empty() { String::new() } else { format!(", only `{called}`") };
                let why = format!("the image `{}` in `{shown}` has no whole name{known}", packed.digest);
                plan.add_nameless(packed.digest.as_str(), &why, printer);
                printer.hint(
                    "give it with `--name`, or copy it with its whole name: `skopeo copy … oci:DIR:NAME`",
                );
            }
        }
    }
    args.placing.run(plan, TransferOptions::default(), printer)
}

/// Says what is wrong with the layout, and what to do about it.
fn broken(error: BundleError, printer: &mut Printer) -> ExitStatus {
    let remedy = error.remedy();
    printer.error(&anyhow::Error::new(error));
    if let Some(remedy) = remedy {
        printer.hint(remedy);
    }
    ExitStatus::Unknown
}
