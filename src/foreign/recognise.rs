//! Which kind a file is, from its name and what is in it.

use super::{
    harbor_container_webhook, hosts_toml, imageswap,
    import::{File, ImportError, Kind},
    k8s_image_swapper, kubespray, mirror_sets, registries_conf, registries_yaml,
    text::{Toml, broken},
};
use crate::inventory::{self, Content};

/// Tells what a file is. More than one answer means that it has objects of several kinds.
///
/// # Errors
/// It is of no kind that is known, it may be of several, or it cannot be read.
pub fn recognise(file: &File<'_>) -> Result<Vec<Kind>, ImportError> {
    // What its name says is what it is, or it is broken.
    let name = file.name.rsplit(['/', '\\']).next().unwrap_or(file.name);
    match name {
        "hosts.toml" => return Ok(vec![Kind::HostsToml]),
        "registries.conf" => return Ok(vec![Kind::RegistriesConf]),
        _ => {}
    }
    let mut kinds = Vec::new();
    let is_text_of = |extension: &str| {
        name.rsplit_once('.').is_some_and(|(_, found)| found.eq_ignore_ascii_case(extension))
    };
    match Toml::read(file) {
        Ok(toml) => {
            if registries_conf::is_one(toml.root()) {
                kinds.push(Kind::RegistriesConf);
            }
            if hosts_toml::is_one(toml.root()) {
                kinds.push(Kind::HostsToml);
            }
        }
        Err(error) if is_text_of("toml") => return Err(error),
        Err(_) => {}
    }
    if imageswap::is_one(file.text) {
        kinds.push(Kind::ImageSwap);
    }
    if kinds.is_empty() {
        kinds = by_yaml(file)?;
    }
    let are_mirror_sets = kinds.iter().all(|kind| matches!(kind, Kind::Icsp | Kind::Idms | Kind::Itms));
    match &*kinds {
        [] => Err(ImportError::Unrecognised { file: file.name.to_owned() }),
        [_] => Ok(kinds),
        _ if are_mirror_sets => Ok(kinds),
        _ => Err(ImportError::Ambiguous { file: file.name.to_owned(), kinds }),
    }
}

fn by_yaml(file: &File<'_>) -> Result<Vec<Kind>, ImportError> {
    let read = inventory::read(file.name, file.text);
    if let Some(problem) = read.problems.into_iter().next() {
        return Err(broken(file, problem.line, problem.message));
    }
    let mut kinds = Vec::new();
    if kubespray::is_one(file) {
        kinds.push(Kind::Kubespray);
    }
    for document in read.documents {
        let Content::Object(map) = document.content else { continue };
        kinds.extend(mirror_sets::kind_of(&map));
        let is = [
            (Kind::HarborContainerWebhook, harbor_container_webhook::is_one(&map)),
            (Kind::ImageSwap, imageswap::maps_of(&map).is_some()),
            (Kind::K8sImageSwapper, k8s_image_swapper::is_one(&map)),
            (Kind::RegistriesYaml, registries_yaml::is_one(&map)),
        ];
        kinds.extend(is.into_iter().filter(|(_, is_one)| *is_one).map(|(kind, _)| kind));
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}
