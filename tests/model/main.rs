//! The model test: random tables, references, namespaces, locks, Pods and registry answers, decided by the code and by a
//! slow, obvious model that was written from the contract.
//!
//! What is modelled, that is product.md §1 to §3 for one image: what a reference means (`image`); which rule wins, where
//! a mirror has the image (`rule`); inside a mirror, wildcards, lock, policies, result (`decide`); what memory and
//! mirrors say together (`asking`, with which the unit tests of `portolan::registry` compare the resolver); `unchanged`,
//! `restored` and the exemptions (`pod`). Of `portolan::table` the model uses nothing but the texts and words of the
//! parsed rules, of the other rooms nothing at all.
//!
//! What is not modelled: the reading of YAML and what it refuses (a rule that a table is refused for is left out), times
//! (an answer is fresh or stale here), what happens on the wire, the patch and the annotation.
//!
//! `PORTOLAN_MODEL_SEED` chooses another run than the usual one, `PORTOLAN_MODEL_CASES` a longer one.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "tests say what is wrong by panicking"
)]

mod asking;
mod decide;
mod draft;
mod generate;
mod image;
mod pod;
mod random;
mod report;
mod rule;
mod subject;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use portolan::{lock::Lock, table::Table};

use decide::{Asked, Decided, Trace};
use draft::Draft;
use generate::{Case, Theme};
use random::Random;
use report::Report;
use rule::ModelRule;
use world::World;

/// As many cases as there are at least.
const CASES: usize = 100_000;

/// Images for each table; what becomes of one is asked about again.
const IMAGES: usize = 8;

#[test]
fn the_code_decides_as_the_contract_says_and_every_rule_kind_reason_and_precedence_was_seen() {
    let seed = number("PORTOLAN_MODEL_SEED", 20_261_121);
    let cases = usize::try_from(number("PORTOLAN_MODEL_CASES", CASES as u64)).unwrap();
    let mut report = Report::default();
    for table in 0.. {
        if report.cases >= cases {
            break;
        }
        try_table(seed.wrapping_add(table), &mut report);
    }
    println!("seed {seed}: {}", report.print());
    let faults = report.faults();
    assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("the variable is a number"))
}

/// One table, and images asked about by it.
fn try_table(seed: u64, report: &mut Report) {
    let mut random = Random::new(seed);
    let theme = Theme::random(&mut random);
    let (draft, table) = sound(Draft::random(&theme, &mut random));
    let rules: Vec<ModelRule> = table.rules().iter().map(|rule| ModelRule::of(rule)).collect();
    assert_eq!(rules, draft.meaning(), "the rules are read as they were written:\n{}", draft.text());

    let images: Vec<String> = (0..IMAGES).map(|_| generate::written(&theme, &rules, &mut random)).collect();
    let lines = generate::lock(&rules, &images, &mut random);
    let lock = subject::lock_of(&World { lock: lines.clone(), ..World::default() });
    for written in images {
        let world = World { seed: random.next(), offline: random.chance(3), lock: lines.clone() };
        let mut case =
            Case { world, written, namespace: generate::namespace(&theme, &mut random), pod: None };
        let mut check = |case: &Case| {
            let (expected, trace) = by_model(&rules, case);
            if by_code(&table, &lock, case).as_ref() != Ok(&expected) {
                explain(seed, draft.clone(), case.clone());
            }
            report.count(&expected, &trace);
            expected
        };
        let decided = check(&case);
        // The result, where it comes by again.
        if let Some(result) = decided.result {
            case.written = result;
            check(&case);
        } else if case.namespace.is_some() && random.chance(40) {
            case.pod = Some(generate::pod(&case.written, &mut random));
            check(&case);
        }
    }
}

/// The draft without the rules that a table is refused for, and the table.
fn sound(mut draft: Draft) -> (Draft, Table) {
    loop {
        match Table::parse(&draft.text()) {
            Ok(parsed) => return (draft, parsed.table),
            Err(problems) => {
                let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
                let before = draft.rules.len();
                let mut line = Draft::FIRST_LINE;
                draft.rules.retain(|_| {
                    line += 1;
                    !lines.contains(&(line - 1))
                });
                assert!(draft.rules.len() < before, "{problems}\n{}", draft.text());
            }
        }
    }
}

fn by_model(rules: &[ModelRule], case: &Case) -> (Decided, Trace) {
    let asked =
        Asked { rules, world: &case.world, written: &case.written, namespace: case.namespace.as_deref() };
    match &case.pod {
        Some(pod) => pod::decide_in(pod, &asked),
        None => decide::decide(&asked),
    }
}

/// `Err`: it panicked.
fn by_code(table: &Table, lock: &Lock, case: &Case) -> Result<Decided, String> {
    catch_unwind(AssertUnwindSafe(|| subject::decide(table, lock, case))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })
}

/// Makes a case on which the two disagree as small as leaving out rules and lines makes it, and says everything.
fn explain(seed: u64, mut draft: Draft, mut case: Case) -> ! {
    let disagree = |draft: &Draft, case: &Case| {
        let Ok(parsed) = Table::parse(&draft.text()) else { return None };
        let rules: Vec<ModelRule> = parsed.table.rules().iter().map(|rule| ModelRule::of(rule)).collect();
        let (expected, trace) = by_model(&rules, case);
        let got = by_code(&parsed.table, &subject::lock_of(&case.world), case);
        (got.as_ref() != Ok(&expected)).then_some((expected, trace, got))
    };
    let mut smaller = true;
    while smaller {
        smaller = false;
        for number in (0..draft.rules.len()).rev() {
            let mut without = draft.clone();
            without.rules.remove(number);
            if disagree(&without, &case).is_some() {
                (draft, smaller) = (without, true);
            }
        }
        for number in (0..case.world.lock.len()).rev() {
            let mut without = case.clone();
            without.world.lock.remove(number);
            if disagree(&draft, &without).is_some() {
                (case, smaller) = (without, true);
            }
        }
    }
    let (expected, trace, got) = disagree(&draft, &case).expect("it did before");
    let lock: Vec<String> = case.world.lock.iter().map(|line| format!("{line:?}")).collect();
    let heard: Vec<String> = Table::parse(&draft.text())
        .unwrap()
        .table
        .rules()
        .iter()
        .flat_map(|rule| {
            let image = image::Image::read(&case.written);
            image.map(|image| decide::places(&ModelRule::of(rule), &image)).unwrap_or_default()
        })
        .map(|(_, place)| format!("{}: {:?}", place.text(), case.world.standing(&place.text())))
        .collect();
    panic!(
        "PORTOLAN_MODEL_SEED={seed} disagrees\n\n{}\nlock:\n{}\nmirrors:\n{}\nnamespace {:?}, offline {}, {:?}\n\
         image `{}`\nby the contract: {expected:#?}\nby the code:     {got:#?}\ngone by: {trace:?}",
        draft.text(),
        lock.join("\n"),
        heard.join("\n"),
        case.namespace,
        case.world.offline,
        case.pod,
        case.written,
    );
}
