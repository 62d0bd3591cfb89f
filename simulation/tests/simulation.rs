//! A sample of schedules, and that the simulation finds what is broken.

use simulation::{Mutation, simulate};

#[test]
fn whatever_happens_in_whichever_order_what_must_hold_does() {
    for seed in 0..3_000 {
        let simulated = simulate(seed, None, false);
        let violations = simulated.violations;
        assert!(
            violations.is_empty(),
            "seed {seed}: {violations:?}; `cargo run --bin simulate -- --seed {seed}` shows how"
        );
    }
}

#[test]
fn a_seed_is_one_schedule() {
    for seed in 0..20 {
        assert_eq!(
            simulate(seed, None, true).trace,
            simulate(seed, None, true).trace
        );
    }
}

#[test]
fn every_fault_of_the_protocol_is_found() {
    for mutation in Mutation::ALL {
        let found =
            (0..3_000).find(|seed| !simulate(*seed, Some(mutation), false).violations.is_empty());
        assert!(found.is_some(), "{mutation:?} is not found");
    }
}
