//! Progress for scripts: a JSON object a line, on stderr.

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::{
    cli::printer::in_line,
    transfer::{Event, TransferError},
};

/// How progress is shown on stderr.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(in crate::cli) enum ProgressFormat {
    /// On a terminal a bar for each image and one for all, elsewhere plain lines
    Auto,
    /// A JSON object a line, whatever is said; stable
    Json,
    /// Plain lines
    Plain,
}

/// An event as an object; `None`: it only counts.
pub(super) fn object(event: &Event<'_>) -> Option<Value> {
    Some(match event {
        Event::Begun(_) | Event::Kept(..) | Event::Needed(..) | Event::Received(..) => return None,
        Event::Retried { image, error, pause } => json!({
            "event": "retry", "image": image.as_str(),
            "error": in_line(anyhow::Chain::new(*error)), "pauseSeconds": pause.as_secs_f64(),
        }),
        Event::Placed { image, place, result } => {
            let mut object = json!({"event": "place", "image": image.as_str(), "reference": place.as_str()});
            match result {
                Ok(loaded) => extend(
                    &mut object,
                    json!({
                        "state": if loaded.was_whole() { "there" } else { "loaded" },
                        "digest": loaded.digest.as_str(), "size": loaded.size,
                        "sent": loaded.sent, "mounted": loaded.mounted,
                    }),
                ),
                Err(error) => extend(&mut object, failed(error)),
            }
            object
        }
        Event::Ended { image, result } => {
            let mut object = json!({"event": "image", "image": image.as_str()});
            match result {
                Ok(saved) => extend(
                    &mut object,
                    json!({
                        "state": if saved.is_carried { "saved" } else { "carried-before" },
                        "digest": saved.digest.as_str(), "size": saved.size,
                        "fetched": saved.received, "carriedBefore": saved.earlier,
                    }),
                ),
                Err(error) => extend(&mut object, failed(error)),
            }
            object
        }
    })
}

fn failed(error: &TransferError) -> Value {
    json!({"state": "failed", "error": in_line(anyhow::Chain::new(error)), "remedy": error.remedy()})
}

fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}
