//! Tells of fights over images that an admission's detector noticed: log, metrics, an Event on the owner.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::{
    admission::{Admission, Fight},
    cluster::{OwnerEvents, OwnerNotice},
};

/// Looks for news as long as it is polled. Without `events` there is no cluster to write them to.
pub(super) async fn tell_forever(admission: &Admission, events: Option<&OwnerEvents>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        every.tick().await;
        tell(admission, events, Instant::now());
    }
}

fn tell(admission: &Admission, events: Option<&OwnerEvents>, now: Instant) {
    for fight in admission.fights.news() {
        admission.metrics.fights.inc();
        tracing::warn!(
            namespace = &*fight.namespace,
            owner = format!("{}/{}", fight.owner.kind, fight.owner.name),
            pod = &*fight.pod,
            source = sources(&fight),
            times = fight.times,
            remedy = REMEDY,
            "{MESSAGE}"
        );
        if let Some(events) = events {
            events.publish(notice(fight));
        }
    }
    let going_on = admission.fights.going_on(now);
    admission.metrics.fights_going_on.set(i64::try_from(going_on).unwrap_or(i64::MAX));
}

/// The images as written, on one line.
fn sources(fight: &Fight) -> String {
    let mut line = String::new();
    for (written, _) in &fight.images {
        let separator = if line.is_empty() { "" } else { " " };
        let _ = write!(line, "{separator}{written}");
    }
    line
}

fn notice(fight: Fight) -> OwnerNotice {
    OwnerNotice {
        namespace: fight.namespace.into(),
        api_version: fight.owner.api_version.into(),
        kind: fight.owner.kind.into(),
        name: fight.owner.name.into(),
        uid: fight.owner.uid.into(),
        reason: REASON,
        action: "RewriteImages",
        text: NOTE,
    }
}

/// The line in the log.
const MESSAGE: &str =
    "an owner makes Pods, or sets their images back, again and again: it seems to fight over their images";

/// What to do about it, in short.
const REMEDY: &str = "label its Pods `portolan.dev/rewrite: disabled`, see docs/operators.md";

/// The word of the Event.
const REASON: &str = "FightOverImages";

/// The note of the Event: the same from every replica, so that they make one.
const NOTE: &str = "Portolan rewrites the images of these Pods, and they are made anew, or their images set back, again \
                    and again, faster than a back-off would. If their controller compares images with what it wrote, \
                    this never ends by itself: have it label its Pods `portolan.dev/rewrite: disabled`, and name the \
                    mirror in its own settings. docs/operators.md says how; which Pods and images, Portolan's log and \
                    its status page.";

/// How often news are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Act, Owner, Sighting};

    #[tokio::test]
    async fn each_fight_counts_once_and_goes_on_until_it_ends() {
        let admission = crate::server::lock_keeper::tests::admission();
        let owner = Owner { api_version: "example.com/v1", kind: "Farm", name: "main", uid: "u-1" };
        let begin = Instant::now();
        for (pod, seconds) in [("a-1", 0), ("a-2", 30)] {
            let sighting = Sighting { namespace: "shop", owner, pod, host_name: "", act: Act::MadeSame };
            for time in 0..20 {
                let now = begin + Duration::from_secs(seconds + time);
                admission.fights.see(&sighting, [("nginx", "r.corp/hub/library/nginx")].into_iter(), now);
                tell(&admission, None, now);
            }
        }
        let figures = || (admission.metrics.fights.get(), admission.metrics.fights_going_on.get());
        assert_eq!(figures(), (1, 1));
        tell(&admission, None, begin + Duration::from_mins(7));
        assert_eq!(figures(), (1, 0));
    }

    #[test]
    fn the_page_about_operators_quotes_what_is_told() {
        let page = include_str!("../../docs/operators.md");
        for text in [MESSAGE, REMEDY, REASON] {
            assert!(page.contains(text), "`{text}` is not in docs/operators.md");
        }
    }

    #[test]
    fn the_note_fits_into_an_event() {
        assert!(NOTE.len() <= 1024 && !NOTE.contains("  "), "{} bytes: {NOTE}", NOTE.len());
    }
}
