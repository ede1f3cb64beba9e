//! The maps of imageswap-webhook: a line for each registry, `[EXACT]` references, `[REPLACE]` patterns.
//!
//! It swaps texts as they are written and never asks a registry. `nginx` goes to `MAP/nginx`, and
//! `docker.io/library/nginx` to `MAP/library/nginx`; in a table these are one image, for which both places are asked.

use super::{
    draft::{At, Draft, Otherwise},
    import::{File, ImportError, Kind},
    text::{broken, different, yaml_maps},
};
use crate::{
    image::{DEFAULT_REGISTRY, Reference},
    inventory::Value,
};

/// Reads map files, or ConfigMaps with them under `maps`.
pub(super) fn read(files: &[File<'_>], draft: &mut Draft) -> Result<(), ImportError> {
    let mut maps = Maps::default();
    for file in files {
        match config_map(file)? {
            Some((text, line)) => maps.take(file, &text, line, draft)?,
            None => maps.take(file, file.text, 0, draft)?,
        }
    }
    maps.add(draft);
    Ok(())
}

/// Whether a text is a map file: each line is a map with `::`.
pub(super) fn is_one(text: &str) -> bool {
    let mut lines = text.lines().map(without_comment).filter(|line| !line.is_empty()).peekable();
    lines.peek().is_some() && lines.all(|line| line.matches("::").count() == 1 && !line.starts_with('-'))
}

/// The maps in an object.
pub(super) fn maps_of(object: &Value) -> Option<&Value> {
    let is_config_map = object.get("kind").and_then(Value::as_text) == Some("ConfigMap");
    object.at(&["data", "maps"]).filter(|_| is_config_map)
}

/// The maps of a file that is a ConfigMap, and the line that they begin behind.
fn config_map(file: &File<'_>) -> Result<Option<(String, usize)>, ImportError> {
    let is_object =
        file.text.lines().any(|line| line.starts_with("kind:") || line.starts_with("apiVersion:"))
            || file.text.trim_start().starts_with('{');
    if !is_object {
        return Ok(None);
    }
    for object in yaml_maps(file, Kind::ImageSwap)? {
        if let Some(maps) = maps_of(&object) {
            let text = maps.as_text().ok_or_else(|| broken(file, maps.line, "`maps` is a text"))?;
            // A block begins on its first line.
            return Ok(Some((text.to_owned(), maps.line.saturating_sub(1))));
        }
    }
    Err(different(file, Kind::ImageSwap, "it is no ConfigMap with `maps`, as `imageswap-maps` is"))
}

/// A line without blanks and its comment.
fn without_comment(line: &str) -> String {
    line.split('#').next().unwrap_or(line).replace([' ', '\t', '\r'], "")
}

#[derive(Default)]
struct Maps {
    /// By registry, in the order of the file.
    registries: Vec<Line>,
    exact: Vec<Line>,
    replaced: Vec<Line>,
    default: Option<Line>,
    unswapped: Option<Line>,
}

#[derive(Clone)]
struct Line {
    at: At,
    key: String,
    value: String,
}

impl Maps {
    fn take(
        &mut self,
        file: &File<'_>,
        text: &str,
        before: usize,
        draft: &mut Draft,
    ) -> Result<(), ImportError> {
        let mut taken = 0;
        for (number, line) in text.lines().enumerate() {
            let line = without_comment(line);
            if line.is_empty() {
                continue;
            }
            let at = At::new(file, before + number + 1, &*line);
            let parts: Vec<_> = line.split("::").collect();
            let old: Vec<_> = line.split(':').collect();
            let (key, value) = match (&*parts, &*old) {
                ([key, value], _) | ([_], [key, value]) => (*key, *value),
                _ if line.contains(':') => {
                    draft.warn(&at, "left out: it is no map (one `::` between a key and a value), and imageswap passes it over");
                    continue;
                }
                _ => {
                    let why = format!("line {} is no map: `{line}`", before + number + 1);
                    return Err(different(file, Kind::ImageSwap, why));
                }
            };
            taken += 1;
            let value = value.trim_end_matches('/').to_owned();
            let put = |lines: &mut Vec<Line>, key: &str| {
                let line = Line { at: at.clone(), key: key.to_owned(), value: value.clone() };
                match lines.iter_mut().find(|earlier| earlier.key == key) {
                    Some(earlier) => *earlier = line,
                    None => lines.push(line),
                }
            };
            if let Some(key) = key.strip_prefix("[EXACT]") {
                put(&mut self.exact, key);
            } else if let Some(key) = key.strip_prefix("[REPLACE]") {
                put(&mut self.replaced, key);
            } else if key == "default" {
                self.default = Some(Line { at: at.clone(), key: key.to_owned(), value: value.clone() });
            } else if key == "noswap_wildcards" {
                self.unswapped = Some(Line { at: at.clone(), key: key.to_owned(), value: value.clone() });
            } else {
                put(&mut self.registries, key);
            }
        }
        if taken == 0 {
            return Err(different(file, Kind::ImageSwap, "it has no maps"));
        }
        Ok(())
    }

    fn add(self, draft: &mut Draft) {
        for line in &self.exact {
            add_exact(line, draft);
        }
        for line in &self.replaced {
            add_replaced(line, draft);
        }
        let Some(default) = &self.default else {
            for line in &self.registries {
                draft.warn(
                    &line.at,
                    "left out: without a `default` imageswap goes by no map but `[EXACT]` and `[REPLACE]`",
                );
            }
            return;
        };
        let library = format!("{DEFAULT_REGISTRY}/library");
        let official = self.registries.iter().find(|line| line.key == library);
        for line in &self.registries {
            if line.key == library {
                continue;
            }
            if line.value.is_empty() {
                draft.kept(line.at.clone(), &*line.key);
                continue;
            }
            let place = match line.value.strip_suffix('-') {
                Some(_) => format!("{}{}", line.value, line.key.split(':').next().unwrap_or(&line.key)),
                None => line.value.clone(),
            };
            if line.key == DEFAULT_REGISTRY && official.is_none() {
                add_official(&line.at, &place, &format!("{place}/library"), draft);
            }
            draft.moved(line.at.clone(), &*line.key, vec![place], Otherwise::Nothing);
        }
        let hub = self.registries.iter().find(|line| line.key == DEFAULT_REGISTRY);
        if let Some(line) = official {
            let written_out = hub.map_or(&default.value, |hub| &hub.value);
            match (line.value.is_empty(), line.value.ends_with('-')) {
                (true, _) => draft.kept(line.at.clone(), &*library),
                (false, true) => {
                    let place = format!("{}{DEFAULT_REGISTRY}", line.value);
                    add_official(&line.at, &place, &format!("{place}/library"), draft);
                }
                (false, false) => {
                    add_official(&line.at, &line.value, &format!("{written_out}/library"), draft);
                }
            }
        }
        add_default(default, hub.is_none() && official.is_none(), draft);
        if let (Some(line), false) = (&self.unswapped, default.value.is_empty()) {
            add_unswapped(line, draft);
        }
    }
}

/// Official images, which are written with and without `library/`.
fn add_official(at: &At, short: &str, long: &str, draft: &mut Draft) {
    let mirrors = vec![short.to_owned(), long.to_owned()];
    draft.moved(at.clone(), format!("{DEFAULT_REGISTRY}/library"), mirrors, Otherwise::Nothing);
}

fn add_default(default: &Line, with_hub: bool, draft: &mut Draft) {
    let value = &default.value;
    if value.is_empty() {
        return;
    }
    if value.ends_with('-') {
        draft.warn(
            &default.at,
            "a default that ends in `-` puts the registry behind it in one segment, which `*` of a table cannot: only \
             docker.io goes by it; name the other registries",
        );
        if with_hub {
            let place = format!("{value}{DEFAULT_REGISTRY}");
            add_official(&default.at, &place, &format!("{place}/library"), draft);
            draft.moved(default.at.clone(), DEFAULT_REGISTRY, vec![place], Otherwise::Nothing);
        }
        return;
    }
    if with_hub {
        add_official(&default.at, value, &format!("{value}/library"), draft);
    }
    draft.moved(default.at.clone(), "*", vec![value.clone()], Otherwise::Nothing);
}

fn add_exact(line: &Line, draft: &mut Draft) {
    let (source, mirror) = match (Reference::parse(&line.key), Reference::parse(&line.value)) {
        (Ok(source), Ok(mirror)) => (source, mirror),
        (Err(error), _) | (_, Err(error)) => return draft.warn(&line.at, format_args!("left out: {error}")),
    };
    if line.key != source.as_str() {
        draft.warn(
            &line.at,
            format_args!("imageswap takes the text as it is written; in a table it holds for all ways to write `{source}`"),
        );
    }
    draft.moved(line.at.clone(), source.as_str(), vec![mirror.as_str().to_owned()], Otherwise::Nothing);
}

fn add_replaced(line: &Line, draft: &mut Draft) {
    let before = line.key.strip_suffix("/*").filter(|before| !before.contains(['*', '?', '[']));
    if let Some(before) = before {
        draft.warn(
            &line.at,
            "imageswap drops the whole path but its last segment; in a table what is behind the source is kept",
        );
        return draft.moved(line.at.clone(), before, vec![line.value.clone()], Otherwise::Nothing);
    }
    if line.key.contains(['*', '?', '[']) {
        return draft.warn(
            &line.at,
            "left out: a table knows patterns of whole segments alone; name the sources that it stands for",
        );
    }
    let last = line.key.rsplit('/').next().unwrap_or(&line.key);
    let value = format!("{}/{last}", line.value);
    add_exact(&Line { value, ..line.clone() }, draft);
}

fn add_unswapped(line: &Line, draft: &mut Draft) {
    draft.warn(
        &line.at,
        "imageswap leaves images alone that have such a text anywhere; in a table the registries of these names are left \
         alone, and what is below them",
    );
    for word in line.value.split(',').filter(|word| !word.is_empty()) {
        if !word.contains('.') {
            draft.warn(&line.at, format_args!("left out: `{word}` is no registry"));
            continue;
        }
        draft.kept(line.at.clone(), word);
        if !word.contains(['/', ':']) {
            draft.kept(line.at.clone(), format!("*.{word}"));
        }
    }
}
