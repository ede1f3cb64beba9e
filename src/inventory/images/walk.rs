//! The walk through one object, which finds the images in it.

use std::{collections::HashSet, sync::Arc};

use super::{
    Certainty, Found, Names, Of, Trust,
    changed::Changed,
    guess::{self, Shape},
    split,
};
use crate::inventory::{
    Value,
    documents::{Content, Document, Inventory, read_within},
    value::Kind,
};

pub(super) struct Walk<'d> {
    document: &'d Document,
    names: Arc<Names>,
    changed: Changed,
    trust: Trust,
    /// Where the walk is.
    pointer: String,
    /// How long the pointer is where the object begins that the walk is in.
    top: usize,
    /// Inside a text, as a ConfigMap has them: how long the pointer to the text is, and the text's line.
    text: Option<(usize, usize)>,
    /// How many texts the walk is inside of.
    depth: usize,
    /// What is an image by its place in a Pod, or a part of one, and is not to be judged by its looks.
    taken: HashSet<String>,
    found: Vec<Found>,
}

impl<'d> Walk<'d> {
    /// The images of an object, which is that of the document.
    pub(super) fn through(document: &'d Document, object: &Value, trust: Trust) -> Vec<Found> {
        let names = Arc::new(Names::of(object));
        let changed = if &*names.kind == "Pod" { Changed::of(object) } else { Changed::default() };
        let mut walk = Self {
            document,
            names,
            changed,
            trust,
            pointer: String::new(),
            top: 0,
            text: None,
            depth: 0,
            taken: HashSet::new(),
            found: Vec::new(),
        };
        walk.map(object, Of::default());
        let mut seen = HashSet::new();
        walk.found.retain(|found| {
            // What a text inside a text has twice is one guess.
            found.certainty == Certainty::Certain || seen.insert((found.image.clone(), found.field.clone()))
        });
        walk.found
    }

    fn map(&mut self, value: &Value, of: Of) {
        let Some(entries) = value.as_map() else { return };
        let is_top = self.pointer.len() == self.top;
        // The metadata of a workload does not speak for its Pods: that of the template does, further below.
        let is_described = !is_top || &*self.names.kind == "Pod";
        let of = if is_described { of.described_by(value) } else { of };
        self.containers(value, of);
        self.image(value, of);
        let name = value.get("name").and_then(Value::as_text);
        for (key, inner) in entries {
            match &**key {
                "metadata" if inner.as_map().is_some() => self.annotations(inner, of),
                // Of Ceph's block devices, an image is a disk.
                "rbd" => {}
                "status" if is_top => {}
                // A variable or parameter: `{name: FOO_IMAGE, value: …}`.
                "value" => self.inside(key, name.unwrap_or(key), inner, of),
                _ => self.inside(key, key, inner, of),
            }
        }
    }

    /// The images of a Pod's specification, or of what is written like one.
    fn containers(&mut self, value: &Value, of: Of) {
        let mut has_containers = false;
        for list in CONTAINERS {
            let items = value.get(list).and_then(Value::as_list).unwrap_or_default();
            for (position, container) in items.iter().enumerate() {
                let Some(image) = container.get("image").filter(|image| image.as_text().is_some()) else {
                    continue;
                };
                has_containers = true;
                let place = [list, &position.to_string(), "image"];
                self.of_pod(container, image, "imagePullPolicy", container, &place, of);
            }
        }
        let volumes = value.get("volumes").and_then(Value::as_list).unwrap_or_default();
        for (position, volume) in volumes.iter().enumerate().filter(|_| has_containers) {
            let Some(source) = volume.get("image") else { continue };
            let Some(image) = source.get("reference").filter(|image| image.as_text().is_some()) else {
                continue;
            };
            let place = ["volumes", &position.to_string(), "image", "reference"];
            self.of_pod(volume, image, "pullPolicy", source, &place, of);
        }
    }

    /// An image of a container or volume, which has the name; beside the image stands the policy.
    fn of_pod(&mut self, named: &Value, image: &Value, policy: &str, beside: &Value, place: &[&str], of: Of) {
        let (Some(text), Some(list)) = (image.as_text(), place.first()) else { return };
        let name = named.get("name").and_then(Value::as_text).unwrap_or_default();
        let written: Box<str> = self.changed.written(list, name, text).unwrap_or(text).into();
        let length = self.pointer.len();
        for token in place {
            self.push(token);
        }
        if self.trust.containers == Certainty::Certain || guess::is_image("image", text) {
            self.add(written, self.trust.containers, image.line, beside.get(policy), of);
        }
        self.taken.insert(self.pointer.clone());
        self.pointer.truncate(length);
    }

    /// The text under `image`, alone or with the parts that stand beside it.
    fn image(&mut self, holder: &Value, of: Of) {
        let Some((image, text)) =
            holder.get("image").and_then(|image| Some((image, image.as_text()?.trim())))
        else {
            return;
        };
        let length = self.pointer.len();
        self.push("image");
        let joined = split::beside(holder, text);
        let whole = joined.as_deref().unwrap_or(text);
        if let Some(shape) = Shape::of(whole)
            && !self.taken.contains(&self.pointer)
        {
            let is_sure = if joined.is_some() {
                shape.is_exact()
            } else {
                !shape.is_bare() || split::is_container(holder)
            };
            let certainty = if is_sure { self.trust.fields } else { Certainty::Guess };
            let policy = holder.get("imagePullPolicy").or_else(|| holder.get("pullPolicy"));
            self.add(whole.into(), certainty, image.line, policy, of);
            self.taken.insert(self.pointer.clone());
        }
        self.pointer.truncate(length);
    }

    /// One level down: `token` leads there, and `key` says what it is.
    fn inside(&mut self, token: &str, key: &str, value: &Value, of: Of) {
        let length = self.pointer.len();
        self.push(token);
        match &value.kind {
            Kind::List(items) => self.list(key, items, of),
            Kind::Map(_) => {
                self.parts(key, value, of);
                self.map(value, of);
            }
            Kind::Text(text) => self.text(key, text, value.line, of),
            Kind::Bool(_) | Kind::Null | Kind::Number(_) => {}
        }
        self.pointer.truncate(length);
    }

    /// An image that a map has in parts.
    fn parts(&mut self, key: &str, map: &Value, of: Of) {
        let Some(image) = split::joined(key, map) else { return };
        let is_sure = key == "image" && Shape::of(&image).is_some_and(Shape::is_exact);
        let certainty = if is_sure { self.trust.fields } else { Certainty::Guess };
        let policy = map.get("pullPolicy").or_else(|| map.get("imagePullPolicy"));
        self.add(image.into(), certainty, map.line, policy, of);
        for part in ["name", "repository"] {
            self.taken.insert(format!("{}/{part}", self.pointer));
        }
    }

    /// A list, in which a flag may say what the next item is: `--image`, `nginx`.
    fn list(&mut self, key: &str, items: &[Value], of: Of) {
        let mut flag = None;
        for (position, item) in items.iter().enumerate() {
            let before = flag.take();
            flag = item.as_text().filter(|text| {
                text.starts_with('-') && !text.contains(|sign: char| sign == '=' || sign.is_whitespace())
            });
            if flag.is_none() {
                self.inside(&position.to_string(), before.unwrap_or(key), item, of);
            }
        }
    }

    fn annotations(&mut self, metadata: &Value, of: Of) {
        let length = self.pointer.len();
        self.push("metadata");
        self.push("annotations");
        let annotations = metadata.get("annotations").and_then(Value::as_map);
        for (key, value) in annotations.into_iter().flatten().filter(|(key, _)| guess::says_image(key)) {
            self.inside(key, key, value, of);
        }
        self.pointer.truncate(length);
    }

    fn text(&mut self, key: &str, text: &str, line: usize, of: Of) {
        let text = text.trim();
        if self.taken.contains(&self.pointer) {
            return;
        }
        if text.contains('\n') || text.starts_with(['{', '[']) {
            self.embedded(key, text, line, of);
        } else if text.contains(char::is_whitespace) {
            self.guess(guess::in_loose_line(text), line, of);
        } else {
            self.guess(guess::in_line(key, text), line, of);
        }
    }

    /// A text that may itself be YAML, JSON, a list or a script.
    fn embedded(&mut self, key: &str, text: &str, line: usize, of: Of) {
        if self.depth == DEEPEST {
            return;
        }
        let before = (self.trust, self.top, self.text);
        self.trust = Trust::GUESS;
        self.text = self.text.or(Some((self.pointer.len(), line)));
        self.depth += 1;
        // Its aliases may stand for as much as it is long, so that many such texts cost no more than they are long.
        let Inventory { documents, problems } =
            read_within(Arc::clone(&self.document.file), text, text.len());
        for (number, document) in documents.iter().enumerate() {
            let length = self.pointer.len();
            self.push(&number.to_string());
            self.top = self.pointer.len();
            match &document.content {
                Content::Image(image) => self.guess(guess::in_line(key, image), line, of),
                Content::Object(object) if Trust::of(object).is_some() => self.map(object, of),
                Content::Object(_) => {}
            }
            self.pointer.truncate(length);
        }
        if !problems.is_empty() {
            for one in text.lines() {
                self.guess(guess::in_loose_line(one), line, of);
            }
        }
        self.depth -= 1;
        (self.trust, self.top, self.text) = before;
    }

    fn guess(&mut self, images: Vec<&str>, line: usize, of: Of) {
        for image in images {
            self.add(image.into(), Certainty::Guess, line, None, of);
        }
    }

    /// Here is an image.
    fn add(&mut self, image: Box<str>, certainty: Certainty, line: usize, policy: Option<&Value>, of: Of) {
        let (length, line) = self.text.unwrap_or((self.pointer.len(), line));
        self.found.push(Found {
            image,
            certainty,
            file: Arc::clone(&self.document.file),
            document: self.document.number,
            line,
            field: self.pointer.get(..length).map(Into::into),
            object: Some(Arc::clone(&self.names)),
            pull_policy: policy.and_then(Value::as_text).map(Into::into),
            is_opted_out: of.is_opted_out,
            is_mirror_pod: of.is_mirror_pod,
        });
    }

    fn push(&mut self, token: &str) {
        self.pointer.push('/');
        for character in token.chars() {
            match character {
                '~' => self.pointer.push_str("~0"),
                '/' => self.pointer.push_str("~1"),
                other => self.pointer.push(other),
            }
        }
    }
}

/// The lists of a Pod's specification that have containers.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// How many texts inside of texts are looked into: a ConfigMap with the values of a chart that has a script is two.
const DEEPEST: usize = 3;
