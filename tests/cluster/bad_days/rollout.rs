//! What an administrator does on a usual day: a rolling update, and another number of replicas.

use serde_json::json;

use super::Installation;
use crate::{support::Outcome, trials};

trials!["bad_days::rollout"; updates_and_scaling_lose_no_admission];

fn updates_and_scaling_lose_no_admission() -> Outcome {
    let installation = Installation::start(&[], "")?;
    installation.wait_connected(&installation.replicas());
    let ((), record) = installation.load.during("rolling update", |_| {
        installation.patch_template(&json!({"metadata": {"annotations": {"tests.portolan.dev/day": "1"}}}));
        installation.rolled_out(2);
    });
    record.none_failed().all_answered().none_unrewritten();

    installation.kubectl(&["scale", "deployment/portolan", "--replicas=1"]);
    installation.rolled_out(1);
    let ((), record) = installation.load.during("scale 1→3→1", |_| {
        for count in [3, 1] {
            installation.kubectl(&["scale", "deployment/portolan", &format!("--replicas={count}")]);
            installation.rolled_out(count);
            installation.wait_connected(&installation.replicas());
        }
    });
    record.none_failed().all_answered().none_unrewritten();
    Ok(())
}
