//! Random images, namespaces, locks and Pods, from small alphabets.
//!
//! A table is made around one image and one namespace (`draft`): most of its sources hold that image, most of its
//! scopes admit that namespace. The images asked about are that one, others much like it, and what is inside the
//! table's mirrors.

use super::{
    decide::places,
    image::Image,
    pod::{Before, Pod},
    random::Random,
    rule::{ModelRule, holds},
    world::{LockLine, World, digest_of},
};

/// One image to decide about.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) world: World,
    pub(crate) written: String,
    pub(crate) namespace: Option<String>,
    pub(crate) pod: Option<Pod>,
}

/// What a table is made around.
#[derive(Clone, Debug)]
pub(crate) struct Theme {
    pub(crate) image: Image,
    pub(crate) namespace: String,
}

impl Theme {
    pub(crate) fn random(random: &mut Random) -> Self {
        let registry = if random.chance(85) { random.word(REGISTRIES) } else { random.word(ODD_REGISTRIES) };
        let image = image_in(registry, random);
        Self { image, namespace: random.word(NAMESPACES).to_owned() }
    }
}

/// An image of that registry.
pub(crate) fn image_in(registry: &str, random: &mut Random) -> Image {
    let mut path: Vec<&str> = (0..=random.below(3)).map(|_| random.word(SEGMENTS)).collect();
    if registry == "docker.io" && path.len() == 1 {
        path.insert(0, "library");
    }
    let digest = random.chance(45).then(|| any_digest(random));
    let tag = (digest.is_none() || random.chance(50)).then(|| random.word(TAGS).to_owned());
    Image { registry: registry.to_owned(), path: path.join("/"), tag, digest }
}

fn any_digest(random: &mut Random) -> String {
    match random.below(20) {
        0 => format!("sha512:{}", "5".repeat(128)),
        1 => format!("sha384:{}", "3".repeat(96)),
        _ => digest_of(random.below(4)),
    }
}

/// A text that names an image, and perhaps no reference at all.
pub(crate) fn written(theme: &Theme, rules: &[ModelRule], random: &mut Random) -> String {
    let mirrors: Vec<&String> = rules.iter().flat_map(|rule| &rule.mirrors).collect();
    let mut image = match random.below(100) {
        0..2 => return random.word(INVALID).to_owned(),
        2 => return if random.chance(50) { String::new() } else { "auto".to_owned() },
        // About as long as a text may be, and a host may be of any length.
        3 => return format!("{}.io/x:1", "a".repeat(4084 + random.below(10))),
        4..24 if !mirrors.is_empty() => {
            let mirror = mirrors[random.below(mirrors.len())];
            return inside(mirror, &theme.image, random);
        }
        24..32 => image_in(random.word(REGISTRIES), random),
        32..40 => image_in(random.word(ODD_REGISTRIES), random),
        _ => theme.image.clone(),
    };
    if random.chance(25) {
        image.digest = random.chance(50).then(|| any_digest(random));
    }
    if random.chance(20) || (image.tag.is_none() && image.digest.is_none()) {
        image.tag = Some(random.word(TAGS).to_owned());
    }
    if random.chance(15) {
        let more = random.word(&["/y", "/x-1/y", "x", "-1", "/nginx"]);
        image.path.push_str(more);
    }
    shortened(&image, random)
}

/// One of the ways to write an image.
fn shortened(image: &Image, random: &mut Random) -> String {
    let mut text = image.text();
    if let (Some("latest"), None, true) = (image.tag.as_deref(), &image.digest, random.chance(60)) {
        text = image.name();
    }
    if let Some(rest) = text.strip_prefix("docker.io/") {
        let official = rest.strip_prefix("library/").filter(|_| image.path.matches('/').count() == 1);
        text = match random.below(6) {
            0 => format!("index.docker.io/{rest}"),
            1 => rest.to_owned(),
            2 | 3 => official.unwrap_or(rest).to_owned(),
            4 => official.map_or_else(|| text.clone(), |official| format!("docker.io/{official}")),
            _ => text,
        };
    }
    text
}

/// An image inside a mirror, or beside it.
fn inside(mirror: &str, like: &Image, random: &mut Random) -> String {
    let filled = mirror.replace("{registry}", random.word(&["docker.io", "quay.io", "a.b.io_5000"]));
    let (registry, path) = filled.split_once('/').unwrap_or((&filled, ""));
    let path = path.split([':', '@']).next().unwrap_or_default();
    let rest = match random.below(10) {
        0 => "",
        1 => "x",
        2 => "/x/y",
        _ => "/x",
    };
    let path = format!("{path}{rest}");
    let path = path.trim_start_matches('/');
    let path = if path.is_empty() { "x" } else { path };
    let image = Image { registry: registry.to_owned(), path: path.to_owned(), ..like.clone() };
    image.text()
}

/// The request's namespace.
pub(crate) fn namespace(theme: &Theme, random: &mut Random) -> Option<String> {
    match random.below(100) {
        0..70 => Some(theme.namespace.clone()),
        70..92 => Some(random.word(NAMESPACES).to_owned()),
        _ => None,
    }
}

/// A lock with lines for some of the places where the images are.
pub(crate) fn lock(rules: &[ModelRule], images: &[String], random: &mut Random) -> Vec<LockLine> {
    let mut lines: Vec<LockLine> = Vec::new();
    if random.chance(25) {
        return lines;
    }
    for image in images.iter().filter_map(|text| Image::read(text)) {
        for rule in rules {
            let is_inside = rule.mirrors.iter().any(|mirror| holds(mirror, &image).is_some());
            let own = is_inside.then(|| image.clone());
            for place in places(rule, &image).into_iter().map(|(_, place)| place).chain(own) {
                if random.chance(25) {
                    add_line(&mut lines, place, random);
                }
            }
        }
    }
    lines
}

fn add_line(lines: &mut Vec<LockLine>, mut place: Image, random: &mut Random) {
    let digest = match &place.digest {
        Some(digest) if random.chance(70) => digest.clone(),
        _ => digest_of(random.below(4)),
    };
    if place.name().len() > 255 {
        return;
    }
    place.digest = (place.tag.is_none() || random.chance(20)).then(|| digest.clone());
    // Two lines that disagree are refused.
    let is_taken = |line: &LockLine| {
        line.place.name() == place.name() && line.place.tag == place.tag && line.digest != digest
            || line.place.text() == place.text()
    };
    if lines.iter().any(|line| is_taken(line) && line.place.tag.is_some() || line.place == place) {
        return;
    }
    let same = lines.iter().find(|line| line.place.name() == place.name() && line.digest == digest);
    // Whether it is gone is said of a repository and a digest, not of a line.
    let is_gone = same.map_or_else(|| random.chance(20), |line| line.is_gone);
    let has_moved = !is_gone && random.chance(10);
    lines.push(LockLine { place, digest, is_gone, has_moved });
}

/// A Pod around an image.
pub(crate) fn pod(written: &str, random: &mut Random) -> Pod {
    let other = "quay.io/other:1".to_owned();
    let before = random.chance(50).then(|| {
        let ran = match random.below(3) {
            0 => written.to_owned(),
            1 => format!("m.corp/hub/x:1@{}", digest_of(1)),
            _ => other.clone(),
        };
        let entry = random.chance(70).then(|| {
            // An empty text is never put back: where there is none there may be no field to replace.
            let is_own = random.chance(80) && !written.is_empty();
            let own = if is_own { written.to_owned() } else { other.clone() };
            let image = if random.chance(80) { ran.clone() } else { other.clone() };
            (own, image)
        });
        Before { image: random.chance(85).then_some(ran), entry }
    });
    Pod {
        list: random.word(&["containers", "initContainers", "volumes"]),
        pull: random.word(&["", "IfNotPresent", "Always", "Never", "Always", ""]),
        label: random.word(&["", "", "", "enabled", "disabled"]),
        is_mirror: random.chance(10),
        is_in_own_namespace: random.chance(10),
        before,
    }
}

pub(crate) const REGISTRIES: &[&str] = &[
    "docker.io",
    "docker.io",
    "quay.io",
    "a.b.io",
    "a.b.io:5000",
    "x.a.b.io",
    "x.a.b.io:5000",
    "y.x.a.b.io:80",
    "x.a.b.io:80",
    "y.x.a.b.io:5000",
    "z.y.x.a.b.io:5000",
];
/// Those that wildcards pass by, or that cannot be a path.
const ODD_REGISTRIES: &[&str] = &[
    "localhost",
    "localhost:5000",
    "127.0.0.1",
    "127.1.2.3:80",
    "[::1]",
    "[::1]:5000",
    "[2001:db8::1]:5000",
    "reg.ns.svc",
    "reg.ns.svc:5000",
    "a.svc",
    "reg.ns.svc.cluster.local",
    "reg.ns.svc.cluster.local:5000",
    "UP.io",
    "ns.svc.io",
    "x.notsvc",
    "svc.cluster.local.io",
    "128.0.0.1",
];
const SEGMENTS: &[&str] = &["x", "y", "x-1", "library", "nginx"];
pub(crate) const TAGS: &[&str] = &["1", "2", "latest"];
const NAMESPACES: &[&str] = &["team-a", "team-b", "shop", "te", "team-"];
const INVALID: &[&str] = &[
    "-x",
    "x:",
    "x@sha256:12",
    "a b",
    "x//y",
    "X",
    "x/",
    "/x",
    "x:-1",
    "a..b/x",
    "a.b.io:/x",
    "x@md5:00",
    "[::1/x",
    "auto:",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
];
