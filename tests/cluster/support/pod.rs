//! What tests read of a Pod.

use serde_json::Value;

/// The image of a Pod under a key as the sources annotation has it, such as `containers/app`.
#[track_caller]
pub fn image<'a>(pod: &'a Value, key: &str) -> &'a str {
    let (list, name) = key.split_once('/').unwrap();
    let entry = pod["spec"][list]
        .as_array()
        .and_then(|entries| entries.iter().find(|entry| entry["name"] == name))
        .unwrap_or_else(|| panic!("no {key} in {pod}"));
    let image = if list == "volumes" { &entry["image"]["reference"] } else { &entry["image"] };
    image.as_str().unwrap_or_else(|| panic!("no image in {entry}"))
}

/// The sources annotation of a Pod; null if it has none.
pub fn sources(pod: &Value) -> Value {
    let annotation = &pod["metadata"]["annotations"]["portolan.dev/sources"];
    annotation.as_str().map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
}
