//! The bodies that are posted, as an API server sent them.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::Plan;

/// A recorded review.
pub(crate) struct Body {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

impl Body {
    /// The reviews of `create-pod` whose names contain one of the plan's words.
    pub(crate) fn of(plan: &Plan) -> Vec<Self> {
        let folder = fs::read_dir(&plan.reviews)
            .unwrap_or_else(|error| panic!("no recorded reviews in `{}`: {error}", plan.reviews.display()));
        let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let named = |word: &String| {
            let prefix = format!("create-pod-{word}");
            let is_it = |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix);
            let path = paths.iter().find(is_it).unwrap_or_else(|| panic!("no review `{prefix}…`"));
            Self { path: path.clone(), bytes: fs::read(path).unwrap() }
        };
        plan.bodies.iter().map(named).collect()
    }

    /// The file's name without what all have in common.
    pub(crate) fn name(&self) -> &str {
        self.path.file_stem().unwrap().to_str().unwrap().trim_end_matches("-generatename-replicaset")
    }
}

/// A review like `body` whose Pod has one container for each of `images`, and environment variables of `padding`
/// bytes.
pub(crate) fn with_images(body: &[u8], images: &[String], padding: usize) -> Vec<u8> {
    let mut review: Value = serde_json::from_slice(body).unwrap();
    let containers = &mut review["request"]["object"]["spec"]["containers"];
    let model = containers[0].clone();
    let of_image = |(number, image): (usize, &String)| {
        let mut container = model.clone();
        container["name"] = json!(format!("c{number}"));
        container["image"] = json!(image);
        container
    };
    let mut made: Vec<_> = images.iter().enumerate().map(of_image).collect();
    let variables = padding / 64;
    made[0]["env"] = (0..variables)
        .map(|number| json!({ "name": format!("VARIABLE_{number:06}"), "value": "thirty-two characters of a value" }))
        .collect();
    *containers = Value::Array(made);
    serde_json::to_vec(&review).unwrap()
}
