//! A test as libtest-mimic runs it: a function that may find, when it runs, that something is missing.

use std::{env, fmt};

use libtest_mimic::{Completion, Failed, Trial};

/// What a test needs and this machine does not have.
#[derive(Clone, Debug)]
pub struct Missing(pub String);

/// How a test ends unless it panics.
pub type Outcome = Result<(), Missing>;

/// Makes the test; its line carries the reason if it is skipped.
pub fn trial(theme: &str, name: &str, run: fn() -> Outcome) -> Trial {
    Trial::ignorable_test(format!("{theme}::{name}"), move || match run() {
        Ok(()) => Ok(Completion::Completed),
        Err(missing) if env::var("CI").is_ok_and(|ci| ci == "true") => Err(Failed::from(missing)),
        Err(missing) => Ok(Completion::ignored_with(missing)),
    })
}

/// The trials of one theme: `trials!["workloads"; a, b]` is a function `trials` over the functions `a` and `b`.
#[macro_export]
macro_rules! trials {
    ($theme:literal; $($name:ident),+ $(,)?) => {
        /// The tests of this theme.
        pub fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$($crate::support::trial($theme, stringify!($name), $name)),+]
        }
    };
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
