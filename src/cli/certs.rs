//! `portolan certs`: development certificates.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ExitStatus, Printer};
use crate::tls::{Authority, wall_clock};

/// Which certificates to make.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portolan certs
  portolan certs --output secret | kubectl apply -f -

Exit codes:
  0  the certificates were written
  2  they could not be made, or a file is there already")]
pub(super) struct CertsArgs {
    /// Write files, or a Secret's manifest to stdout
    #[arg(short, long, value_enum, default_value = "files")]
    output: CertsOutput,

    /// Folder for the files
    #[arg(long, value_name = "DIR", default_value = "certs")]
    directory: PathBuf,

    /// Namespace of the webhook's Service and of the Secret
    #[arg(long, value_name = "NS", default_value = "portolan")]
    namespace: String,

    /// The webhook's Service
    #[arg(long, value_name = "NAME", default_value = "portolan")]
    service: String,

    /// The Secret
    #[arg(long, value_name = "NAME", default_value = "portolan-tls")]
    secret: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum CertsOutput {
    Files,
    Secret,
}

pub(super) fn run(args: &CertsArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let now = wall_clock();
    let service = format!("{}.{}.svc", args.service, args.namespace);
    let names = Authority::local_names(&[service.clone(), format!("{service}.cluster.local")]);
    let issued = Authority::new(now)?.issue(&names, now)?;
    match args.output {
        CertsOutput::Files => {
            issued.write_files(&args.directory)?;
            printer.note(&format!(
                "made ca.crt, tls.crt and tls.key in `{}` for {}; valid for 90 days",
                args.directory.display(),
                names.join(", ")
            ));
        }
        CertsOutput::Secret => printer.line(issued.secret(&args.namespace, &args.secret).trim_end())?,
    }
    Ok(ExitStatus::Yes)
}
