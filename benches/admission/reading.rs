//! How long a table of 100,000 rules takes to read, beside the YAML parser's events alone.

use std::{fs, hint::black_box};

use granit_parser::{Event, Parser};
use portolan::table::Table;

use crate::{median, tables};

/// Runs both in turn and prints medians of this thread's CPU time.
pub(crate) fn measure() {
    let text = tables::text(tables::MANY, "registry.example.com:5000");
    let mut events = Vec::new();
    let mut tables = Vec::new();
    for _ in 0..TURNS {
        events.push(timed(|| {
            let scalars =
                Parser::new_from_str(&text).filter(|next| matches!(next, Ok((Event::Scalar(..), _)))).count();
            assert!(scalars > tables::MANY);
        }));
        tables.push(timed(|| {
            let table = Table::parse(black_box(&text)).expect("the table is right").table;
            assert_eq!(black_box(&table).rules().len(), tables::MANY);
            // Freeing the old table is not reading the new one.
            std::mem::forget(table);
        }));
    }
    let (events, table) = (median(events), median(tables));
    println!("\n## A file of {} rules ({:.1} MB)\n", tables::MANY, text.len() as f64 / 1e6);
    println!("| | CPU ms | × events |\n|---|---|---|");
    println!("| the parser's events alone | {:.0} | 1.00 |", events / 1e6);
    println!("| the table | {:.0} | {:.2} |", table / 1e6, table / events);
}

/// Nanoseconds of CPU that `work` takes on this thread.
fn timed(work: impl FnOnce()) -> f64 {
    let used = || {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let before = used();
    work();
    used() - before
}

/// Enough for a median, few enough that the tables that are not freed fit.
const TURNS: usize = 7;
