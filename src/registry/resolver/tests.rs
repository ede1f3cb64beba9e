//! The resolver beside the model of what mirrors say together. What happens on the wire is tested in `tests/it`.

use super::*;

#[path = "../../../tests/model/asking.rs"]
mod asking;
#[expect(dead_code, reason = "some of it serves the other tests")]
#[path = "../../../tests/model/random.rs"]
mod random;

use asking::{Refusal as Refused, Says, Standing as Known, Together, together};
use random::Random;

/// Registries that answer, and registries that are left alone. Nobody listens at either.
struct Scene {
    resolver: Resolver,
    cases: usize,
}

impl Scene {
    fn new() -> Self {
        let policy = CachePolicy { leave_alone_for: Duration::from_hours(1), ..CachePolicy::default() };
        let resolver = Resolver::new(policy);
        for number in 0..3 {
            let host = resolver.shared.registries.get(&format!("alone{number}.invalid")).unwrap();
            let now = Instant::now();
            host.failed(now, now, policy.leave_alone_for, &FetchError::Timeout);
        }
        Self { resolver, cases: 0 }
    }

    /// Puts into memory what is known about an image in its mirrors, and under way what they will say.
    fn prepare(&mut self, mirrors: &[Known]) -> Vec<Reference> {
        self.cases += 1;
        let Shared { memory, registries, .. } = &*self.resolver.shared;
        let now = Instant::now();
        let long_ago = now.checked_sub(Duration::from_mins(2)).unwrap();
        let prepare = |(number, known): (usize, &Known)| {
            let host = if known.left_alone { "alone" } else { "mirror" };
            let reference: Reference = format!("{host}{number}.invalid/{}:1", self.cases).parse().unwrap();
            let host = registries.get(reference.registry()).unwrap();
            let key = host.probe(&reference).to_key();
            if let Some(digest) = &known.fresh {
                memory.found(&key, digest.parse().unwrap(), now);
            }
            if let Some(digest) = &known.stale {
                memory.found(&key, digest.parse().unwrap(), long_ago);
            }
            match known.refused {
                Some(Refused::Missing) => memory.refused(&key, Refusal::Missing, now),
                Some(Refused::Unauthorized) => memory.refused(&key, Refusal::Unauthorized, now),
                None => {}
            }
            let verdict = match &known.says {
                Says::Found(digest) => Verdict::Found(digest.parse().unwrap()),
                Says::Refused(Refused::Missing) => Verdict::Missing,
                Says::Refused(Refused::Unauthorized) => Verdict::Unauthorized,
                Says::Silent => Verdict::Unavailable,
            };
            host.flights.begin_anew(&key, |_| async move {
                // Not before the resolver has come to this mirror: what has ended is under way no more.
                for _ in 0..number * TURNS {
                    tokio::task::yield_now().await;
                }
                Fetched::from(verdict)
            });
            reference
        };
        mirrors.iter().enumerate().map(prepare).collect()
    }
}

fn any_known(random: &mut Random) -> Known {
    let digest = |random: &mut Random| format!("sha256:{}", random.below(10).to_string().repeat(64));
    let refusal = |random: &mut Random| *random.pick(&[Refused::Missing, Refused::Unauthorized]);
    let mut known = Known { left_alone: random.chance(15), ..Known::default() };
    match random.below(10) {
        0 => known.fresh = Some(digest(random)),
        1..4 => known.stale = Some(digest(random)),
        4 => known.refused = Some(refusal(random)),
        5 => (known.refused, known.stale) = (Some(Refused::Unauthorized), Some(digest(random))),
        _ => {}
    }
    known.says = match random.below(10) {
        0..2 => Says::Found(digest(random)),
        2..8 => Says::Refused(refusal(random)),
        _ => Says::Silent,
    };
    known
}

/// The model's words as the resolver says them.
fn said(together: Together) -> Answer {
    match together {
        Together::Found { mirror, digest, from } => {
            let from = match from {
                "memory" => AnswerSource::Memory,
                "registry" => AnswerSource::Registry,
                _ => AnswerSource::Stale,
            };
            Answer::Found { mirror, digest: digest.parse().unwrap(), from }
        }
        Together::Missing => Answer::Missing,
        Together::Unauthorized { first } => Answer::Unauthorized { mirror: first },
        Together::Unavailable { first } => Answer::Unavailable { mirror: first },
    }
}

#[tokio::test]
async fn what_mirrors_and_memory_say_together_is_what_the_contract_makes_of_it() {
    let mut scene = Scene::new();
    let mut random = Random::new(4);
    let mut seen = [0_usize; 7];
    for case in 0..3000 {
        let known: Vec<Known> = (0..=random.below(3)).map(|_| any_known(&mut random)).collect();
        let references = scene.prepare(&known);
        let mirrors: Vec<&Reference> = references.iter().collect();
        let question = Question { mirrors: &mirrors, always: random.chance(30) };
        let expected = said(together(&known));

        let is_asked = |known: &Known| known.refused.is_none() && !known.left_alone;
        let is_known = known.iter().any(|known| known.fresh.is_some()) || !known.iter().any(is_asked);
        let remembered = scene.resolver.remembered(&question, Instant::now());
        assert_eq!(remembered, is_known.then(|| expected.clone()), "case {case}, at once: {known:#?}");

        let soon = Instant::now() + Duration::from_secs(20);
        let answer = scene.resolver.resolve(&question, soon).await;
        assert_eq!(answer, expected, "case {case}: {known:#?}");
        seen[match (answer, is_known) {
            (Answer::Found { from: AnswerSource::Memory, .. }, _) => 0,
            (Answer::Found { from: AnswerSource::Registry, .. }, _) => 1,
            (Answer::Found { from: AnswerSource::Stale, .. }, false) => 2,
            (Answer::Found { from: AnswerSource::Stale, .. }, true) => 3,
            (Answer::Missing, _) => 4,
            (Answer::Unauthorized { .. }, _) => 5,
            (Answer::Unavailable { .. }, _) => 6,
        }] += 1;
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}

/// More turns of the runtime than the resolver needs to come from one mirror to the next.
const TURNS: usize = 16;
