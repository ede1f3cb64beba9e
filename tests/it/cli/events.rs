//! Progress as JSON: whatever is said on stderr is an object a line.

use bytes::Bytes;
use portolan::image::Digest;
use serde_json::{Value, json};

use super::{Ended, Folder};
use crate::support::{
    fake_registry::{FakeRegistry, Fault},
    stand_in::StandIn,
    webhook,
};

impl Ended {
    /// Every line of stderr, each an object with an event.
    fn events(&self) -> Vec<Value> {
        let read = |line: &str| {
            let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
            assert!(object["event"].is_string(), "{line}");
            object
        };
        self.stderr.lines().map(read).collect()
    }
}

/// Those of one kind about one image.
fn of<'e>(events: &'e [Value], kind: &str, image: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["event"] == kind && event["image"] == image).collect()
}

#[tokio::test]
async fn progress_as_json_has_every_image_every_place_and_every_message() {
    let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let (one, two) = (format!("{}/a/one:1", from.host()), format!("{}/a/two:1", from.host()));
    let image = StandIn::single("linux/amd64", &[Bytes::from(vec![1; 1000])]);
    let digest = from.put_image("a/one", "1", &image);
    let size: usize = image.blobs.iter().map(Bytes::len).sum();
    let folder = Folder::new();
    let rule = format!("{{source: '{}', mirrors: ['{}/hub']}}", from.host(), to.host());
    let entries = [&from, &to].map(|registry| format!("{{host: '{}', plainHttp: true}}", registry.host()));
    folder.write("table.yaml", &webhook::table(&[&rule], &[&entries[0], &entries[1]]));
    let list = format!("{one}\n{two}\nno//image\n");

    from.fault_at("a/one/manifests", Fault::LimitOnce(1));
    let save = ["save", "--images", "-", "--table", "table.yaml", "--progress", "json", "bundle"];
    let ended = folder.run_with(&save, &list).await;
    let events = ended.events();
    assert_eq!((ended.code, &*ended.stdout), (1, ""));
    assert!(of(&events, "retry", &one)[0]["pauseSeconds"].as_f64().unwrap() >= 1.0);
    let saved = json!({
        "event": "image", "image": one, "state": "saved", "digest": digest.to_string(), "size": size,
        "fetched": size, "carriedBefore": 0,
    });
    assert_eq!(of(&events, "image", &one), [&saved]);
    let failed = of(&events, "image", &two)[0];
    assert_eq!(failed["state"], "failed");
    assert!(failed["error"].as_str().unwrap().contains("it does not exist"), "{failed}");
    assert_eq!(failed["remedy"], "see whether name and tag are right");
    let whole = json!({
        "event": "progress", "images": 2, "ended": 2, "failed": 1, "bytes": size, "moved": size, "there": 0,
        "secondsLeft": 0,
    });
    assert_eq!(events.iter().rfind(|event| event["event"] == "progress"), Some(&whole));
    let messages = |kind: &str| -> Vec<String> {
        let of_kind = events.iter().filter(|event| event["event"] == kind);
        of_kind.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    };
    assert!(messages("error")[0].contains("`no//image` is no image"), "{events:?}");
    assert!(messages("note")[0].starts_with("1 of 3 images are in `bundle`"), "{events:?}");

    let load = ["load", "bundle", "--table", "table.yaml", "-o", "json", "--progress", "json"];
    let placed = |state: &str, sent: usize| {
        json!({
            "event": "place", "image": one, "reference": format!("{}/hub/a/one:1", to.host()), "state": state,
            "digest": Digest::of(image.top.as_bytes()).to_string(), "size": size, "sent": sent, "mounted": 0,
        })
    };
    for expected in [placed("loaded", size), placed("there", 0)] {
        let ended = folder.run(&load).await;
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(of(&ended.events(), "place", &one), [&expected]);
        let rows: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(rows[0]["state"], expected["state"], "stdout is as it was");
    }
    let copy = ["copy", "--images", "-", "--table", "table.yaml", "--progress", "json"];
    let ended = folder.run_with(&copy, &list).await;
    let events = ended.events();
    assert_eq!(of(&events, "place", &one)[0]["state"], "there");
    assert_eq!(of(&events, "place", &two)[0]["state"], "failed");
    let ended = folder.run(&["load", "none", "--table", "table.yaml", "--progress", "json"]).await;
    assert_eq!((ended.code, &ended.events()[0]["event"]), (2, &json!("error")));
    // As before without the flag, and when it is asked for.
    let ended = folder.run(&["load", "bundle", "--table", "table.yaml", "--progress", "plain"]).await;
    assert!(ended.stderr.starts_with(&format!("there {one} as ")), "{}", ended.stderr);
}
