//! Portolan away, and what that costs a Pod that nobody but its manifest owns.

use std::{thread, time::Duration};

use serde_json::json;

use super::Load;
use crate::{
    support::{Outcome, Scene, image},
    trials,
};

trials!["bad_days::away"; while_portolan_is_away_pods_are_admitted_and_a_reapplied_bare_one_restarts];

fn while_portolan_is_away_pods_are_admitted_and_a_reapplied_bare_one_restarts() -> Outcome {
    let mut scene = Scene::with_rules(RULES).start()?;
    let expected = scene.push("hub/library/nginx", "1.25");
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"},
        "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]},
    })
    .to_string();
    scene.apply(&manifest);
    scene.apply(&manifest);
    let bare = scene.pod("bare");
    assert_eq!((image(&bare, "containers/web"), &bare["metadata"]["generation"]), (&*expected, &json!(1)));

    let load = Load {
        api: scene.api().clone(),
        namespace: scene.namespace.clone(),
        written: "nginx:1.25".to_owned(),
        expected: expected.clone(),
    };
    let (gap, record) = load.during("Portolan away", |clock| {
        let from = clock.now();
        scene.portolan.process.kill();
        scene.apply(&manifest);
        // A kubelet restarts a container whose image changes.
        let bare = scene.pod("bare");
        assert_eq!(
            (image(&bare, "containers/web"), &bare["metadata"]["generation"]),
            ("nginx:1.25", &json!(2))
        );
        thread::sleep(Duration::from_secs(2));
        scene.portolan.start_anew();
        scene.portolan.until_ready();
        let to = clock.now();
        thread::sleep(Duration::from_secs(1));
        (from, to)
    });
    record.none_failed().all_answered().none_unrewritten_but(&[gap]);
    assert!(record.unrewritten() >= 40, "{}", record.unrewritten());
    // It stays so, rather than restart once more.
    scene.apply(&manifest);
    let bare = scene.pod("bare");
    assert_eq!((image(&bare, "containers/web"), &bare["metadata"]["generation"]), ("nginx:1.25", &json!(2)));
    Ok(())
}

const RULES: &str = "rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n";
