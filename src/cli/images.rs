//! `portolan images`: every image that has to be carried.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::{ExitStatus, OutputFormat, Printer, inputs::Spot, printer::plain, sources::SourceArgs};
use crate::{
    image::Reference,
    inventory::{self, Certainty, Found},
    rewrite::is_placeholder,
};

/// What `images` is asked.
#[derive(Debug, Args)]
#[command(
    after_help = "Certain are the images of Pods and of what Pods are made from, and what custom resources \
have under `image`. Guesses are variables, arguments, values of ConfigMaps and other texts that look like an image.

Examples:
  portolan images deploy/ > images.txt
  helm template my-chart | portolan images --guesses -
  portolan images -o json k8s.yaml | jq -r '.[] | select(.certainty == \"guess\") | .image'
  portolan images --cluster

Exit codes:
  0  every image is listed
  1  something that has to be an image is none: it is named, and the rest is listed
  2  something cannot be read: it is named, and the rest is listed"
)]
pub(super) struct ImagesArgs {
    #[command(flatten)]
    sources: SourceArgs,

    /// List also what only looks like an image
    #[arg(long)]
    guesses: bool,

    /// How to print; `json` has the guesses, too, and says which they are
    #[arg(short, long, value_enum, default_value = "text")]
    output: OutputFormat,
}

pub(super) fn run(args: &ImagesArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = args.sources.connect().await?;
        let mut list = List::default();
        let read = args.sources.read(client.as_ref(), printer, |documents| {
            for found in documents.iter().flat_map(inventory::images) {
                list.take(found);
            }
        });
        let unread = read.await?;
        list.name_what_is_none(printer);
        match args.output {
            OutputFormat::Json => printer.json(&list.rows())?,
            OutputFormat::Text => list.print(args.guesses, printer)?,
        }
        Ok(if unread > 0 {
            ExitStatus::Unknown
        } else if list.none.is_empty() {
            ExitStatus::Yes
        } else {
            ExitStatus::No
        })
    })
}

/// What was found.
#[derive(Default)]
struct List {
    /// The images as they are written, each with the places where it stands.
    images: BTreeMap<Box<str>, Vec<Place>>,
    /// What is no reference though it stands where one has to be.
    none: Vec<(Box<str>, Spot)>,
}

/// A place where an image stands.
#[derive(Serialize)]
struct Place {
    certainty: Certainty,
    #[serde(flatten)]
    spot: Spot,
}

/// An image, for scripts.
#[derive(Serialize)]
struct Row<'l> {
    image: &'l str,
    reference: String,
    certainty: Certainty,
    places: &'l [Place],
}

impl List {
    fn take(&mut self, found: Found) {
        let image = found.image.clone();
        let certainty = found.certainty;
        if Reference::parse(&image).is_ok() && !is_placeholder(&image) {
            self.images.entry(image).or_default().push(Place { certainty, spot: Spot::of(found) });
        } else if !is_filled_in_later(&image) {
            self.none.push((image, Spot::of(found)));
        }
    }

    fn name_what_is_none(&self, printer: &mut Printer) {
        for (text, spot) in self.none.iter().take(MOST_NAMED) {
            printer.warning(&format!(
                "`{}` is no reference to an image: {}",
                short(text),
                plain(&spot.to_string())
            ));
        }
        if self.none.len() > MOST_NAMED {
            printer.warning(&format!("{} more are no references to images", self.none.len() - MOST_NAMED));
        }
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let rows = self.images.iter().map(|(image, places)| Row {
            image,
            reference: Reference::parse(image)
                .map(|reference| reference.as_str().to_owned())
                .unwrap_or_default(),
            certainty: certainty(places),
            places,
        });
        rows.collect()
    }

    fn print(&self, guesses: bool, printer: &mut Printer) -> anyhow::Result<()> {
        let mut hidden = 0;
        for (image, places) in &self.images {
            if guesses || certainty(places) == Certainty::Certain {
                printer.line(image)?;
            } else {
                hidden += 1;
            }
        }
        if hidden > 0 {
            let texts = if hidden == 1 { "1 more text looks" } else { &format!("{hidden} more texts look") };
            printer.note(&format!("{texts} like an image: `--guesses` lists them, too"));
        }
        Ok(())
    }
}

/// An image is certain if one of its places is.
fn certainty(places: &[Place]) -> Certainty {
    places.iter().map(|place| place.certainty).min().unwrap_or(Certainty::Guess)
}

/// Whether somebody else fills in what image it is: an injector, a workflow, whoever renders a template.
fn is_filled_in_later(text: &str) -> bool {
    is_placeholder(text) || ["$(", "${", "{{"].iter().any(|sign| text.contains(sign))
}

/// The beginning of a text, fit to print.
fn short(text: &str) -> String {
    let mut short: String = plain(text).chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// How many texts that are no references are named.
const MOST_NAMED: usize = 100;

/// How much of such a text is printed.
const LONGEST: usize = 200;
