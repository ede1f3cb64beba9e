//! Whether decisions are carried out.

/// Whether what was decided about a Pod is done to it, or only logged and said.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Mode {
    /// Decided, logged and warned about; nothing is patched or denied.
    Audit,
    /// Patched or denied.
    #[default]
    Enforce,
}

impl Mode {
    /// Both modes.
    pub const ALL: [Self; 2] = [Self::Audit, Self::Enforce];

    /// The mode's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Enforce => "enforce",
        }
    }
}
