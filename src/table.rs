//! The mapping table: which mirror stands for a source. (A placeholder until the room is merged.)
#![allow(missing_docs)]

#[derive(Debug)]
pub struct Rule {
    pub source: Box<str>,
    pub mirrors: Vec<Mirror>,
    pub namespaces: Option<Vec<Box<str>>>,
}
#[derive(Debug)]
pub struct Mirror(pub Box<str>);
impl Mirror {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl Rule {
    pub fn source(&self) -> &str {
        &self.source
    }
    pub fn namespaces(&self) -> Option<&[Box<str>]> {
        self.namespaces.as_deref()
    }
    pub fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }
}
