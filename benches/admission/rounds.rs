//! The servers in turn, and the medians.

use std::time::Duration;

use crate::{
    Plan,
    bodies::Body,
    load::{Load, Turn},
    median,
    servers::{self, Server, Setup},
    tables,
};

/// `bare`, `scan` and Portolan with each body.
pub(crate) fn three_servers(plan: &Plan, setup: &Setup) {
    println!("\n## Three servers, {} connections, {} × {} s\n", plan.connections, plan.rounds, plan.seconds);
    println!(
        "| body | server | CPU µs (least–most) | × scan | user alone | × scan | requests/s | core busy | p99 µs | × scan |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let portolan = setup.portolan(tables::SOME);
    for body in Body::of(plan) {
        let answer = portolan.checked_answer(&body.bytes, setup);
        let floors = ["bare", "scan"].map(|name| setup.floor(name, answer.len()));
        for floor in &floors {
            assert_eq!(floor.checked_answer(&body.bytes, setup).len(), answer.len());
        }
        let [bare, scan] = &floors;
        let results = in_turn(plan, setup, &[bare, scan, &portolan], &body);
        let base = &results[1];
        for (server, result) in [bare, scan, &portolan].into_iter().zip(&results) {
            println!(
                "| {} | {} | {:.2} ({:.2}–{:.2}) | {:.2} | {:.2} | {:.2} | {} | {:.0} % | {:.0} | {:.2} |",
                body.name(),
                server.name,
                result.cpu,
                result.least,
                result.most,
                result.cpu / base.cpu,
                result.user,
                result.user / base.user,
                if result.busy >= BUSY { format!("{:.0}", result.throughput) } else { "load bound".into() },
                result.busy * 100.0,
                result.p99,
                result.p99 / base.p99,
            );
        }
    }
    let dropped = portolan.metric("portolan_audit_dropped_total");
    assert_eq!(dropped, 0, "audit records were lost: the figures are not those of all the work");
}

/// Portolan with 10 rules, with 100,000, and with as many and a lock that has every image.
pub(crate) fn few_and_many_rules(plan: &Plan, setup: &Setup) {
    println!("\n## {} rules and {}\n", tables::FEW, tables::MANY);
    println!("| body | server | CPU µs (least–most) | × {} rules |\n|---|---|---|---|", tables::FEW);
    let [few, many] = [tables::FEW, tables::MANY].map(|rules| setup.portolan(rules));
    let mut lines = Vec::new();
    for body in Body::of(plan) {
        lines.extend(servers::pinned(&body.bytes, &few.checked_answer(&body.bytes, setup)));
    }
    lines.sort();
    lines.dedup();
    let servers = [few, many, setup.locked_portolan(tables::MANY, &lines)];
    for body in Body::of(plan) {
        for server in &servers {
            server.checked_answer(&body.bytes, setup);
        }
        let results = in_turn(plan, setup, &servers.each_ref(), &body);
        for (server, result) in servers.iter().zip(&results) {
            println!(
                "| {} | {} | {:.2} ({:.2}–{:.2}) | {:.3} |",
                body.name(),
                server.name,
                result.cpu,
                result.least,
                result.most,
                result.cpu / results[0].cpu
            );
        }
    }
}

/// What a server's turns came to: medians, and the least and most CPU.
struct Figures {
    cpu: f64,
    user: f64,
    least: f64,
    most: f64,
    throughput: f64,
    busy: f64,
    p99: f64,
}

/// Warms each server up, then gives each its turns, one after the other.
///
/// A round's seconds are turns of two seconds each: what else the machine's host does for a while is then felt by all
/// servers, and a turn's handshakes are so few of its requests that p99 is not theirs.
fn in_turn(plan: &Plan, setup: &Setup, servers: &[&Server], body: &Body) -> Vec<Figures> {
    let load = Load::new(setup.folder.path(), plan.connections);
    let turn = |server: &Server, time| {
        let tidied = server.tidied();
        let turn = load.turn(&server.process, server.address, &body.path, time);
        drop(tidied);
        turn
    };
    for server in servers {
        turn(server, WARM_UP);
    }
    let mut turns: Vec<Vec<Turn>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.rounds * plan.seconds.div_ceil(TURN.as_secs()) {
        for (server, turns) in servers.iter().zip(&mut turns) {
            turns.push(turn(server, TURN));
        }
    }
    turns.iter().map(|turns| Figures::of(turns)).collect()
}

impl Figures {
    fn of(turns: &[Turn]) -> Self {
        let middle = |figure: fn(&Turn) -> f64| median(turns.iter().map(figure).collect());
        let cpu = || turns.iter().map(|turn| turn.cpu);
        Self {
            cpu: middle(|turn| turn.cpu),
            user: middle(|turn| turn.user),
            least: cpu().fold(f64::INFINITY, f64::min),
            most: cpu().fold(0.0, f64::max),
            throughput: middle(|turn| turn.throughput),
            busy: middle(|turn| turn.busy),
            p99: middle(|turn| turn.p99),
        }
    }
}

/// Before anything is measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// One server's, before it is the next one's.
const TURN: Duration = Duration::from_secs(2);

/// From here on the server was the limit and not the load: its throughput says something.
const BUSY: f64 = 0.95;
