//! Simulated launches whose truth is known, over many seeds: intervals cover at their nominal rate, identical sides are not told
//! apart, and what is different is found. Nothing here is timed.

use compare::document::{Better, Criterion, DifferenceClass, Measure, Outcome, Summary, Unit, VerdictKind, WarmUpClass};
use compare::equality::{Answer, Comparer, Likeness};
use compare::statistics::change_points::warm_up;
use compare::statistics::effect::Blocks;
use compare::statistics::order::Which;
use compare::statistics::verdict::{Rules, judge, without_winner};
use compare::statistics::{median, quantile};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal, Normal};

const SEEDS: u64 = 500;

/// Ten blocks of launches: a launch's p50 is a lognormal draw (heap layout, luck) on a machine that drifts within a block.
fn blocks(seed: u64, ratio: f64, launch_deviation: f64, count: u32) -> Blocks {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let launch = LogNormal::new(0.0, launch_deviation).unwrap();
    let drift = Normal::new(0.0, 0.05).unwrap();
    let mut launches = Vec::new();
    for (block, order) in compare::statistics::order::blocks(count, seed).into_iter().enumerate() {
        let slope = drift.sample(&mut random);
        for (position, which) in order.into_iter().enumerate() {
            let truth = if which == Which::Left { 1e-3 } else { 1e-3 * ratio };
            let value = truth * launch.sample(&mut random) * (slope * position as f64).exp();
            launches.push((block as u32, which, value));
        }
    }
    Blocks::gather(launches)
}

fn measure(blocks: &Blocks, seed: u64) -> Measure {
    let summary = |at: usize| {
        let values: Vec<f64> = blocks.values.iter().flat_map(|block| [block[at], block[at + 1]]).collect();
        Summary {
            launches: values.len() as u32,
            median: median(&values),
            least: quantile(&values, 0.0),
            greatest: quantile(&values, 1.0),
            at_least: false,
        }
    };
    Measure {
        id: "latency_p50".to_owned(),
        title: "p50 latency".to_owned(),
        criterion: Criterion::Performance,
        unit: Unit::Seconds,
        better: Better::Less,
        condition: "1 core".to_owned(),
        left: summary(0),
        right: summary(2),
        ratio: blocks.ratio(0.95, seed),
        verdict: without_winner(VerdictKind::Inconclusive, ""),
    }
}

fn judged(measures: &mut [Measure]) -> Vec<VerdictKind> {
    let names = ["Node".to_owned(), "Python".to_owned()];
    judge(measures, &Rules { names, confidence: 0.95, equal_within: 0.05, block_seconds: 90.0 });
    measures.iter().map(|measure| measure.verdict.kind).collect()
}

/// How often `found` holds, over all seeds.
fn rate(found: impl Fn(u64) -> bool) -> f64 {
    (0..SEEDS).filter(|seed| found(*seed)).count() as f64 / SEEDS as f64
}

#[test]
fn intervals_cover_the_true_ratio_at_the_nominal_rate() {
    for (truth, deviation, count) in [(3.0, 0.1, 10), (1.2, 0.3, 6), (0.5, 0.05, 20)] {
        let covered = rate(|seed| {
            let ratio = blocks(seed, truth, deviation, count).ratio(0.95, seed).unwrap();
            (ratio.low..=ratio.high).contains(&truth)
        });
        // The standard error of a rate over 500 seeds is 1%: three of them.
        assert!((0.92..=0.98).contains(&covered), "{truth}: covered in {covered}");
    }
}

#[test]
fn identical_sides_are_equal_or_inconclusive() {
    for (deviation, count) in [(0.01, 10), (0.1, 10), (0.3, 6)] {
        let right = rate(|seed| {
            let mut one = [measure(&blocks(seed, 1.0, deviation, count), seed)];
            matches!(judged(&mut one)[0], VerdictKind::Equal | VerdictKind::Inconclusive)
        });
        assert!(right >= 0.95, "deviation {deviation}: right in {right}");
    }
    let quiet = rate(|seed| judged(&mut [measure(&blocks(seed, 1.0, 0.01, 10), seed)])[0] == VerdictKind::Equal);
    assert!(quiet >= 0.95, "a quiet machine says equal: {quiet}");
}

#[test]
fn eight_criteria_of_identical_sides_are_not_told_apart_either() {
    let right = rate(|seed| {
        let mut all: Vec<Measure> = (0..8).map(|n| measure(&blocks(seed * 8 + n, 1.0, 0.1, 10), seed)).collect();
        judged(&mut all).iter().all(|kind| matches!(kind, VerdictKind::Equal | VerdictKind::Inconclusive))
    });
    assert!(right >= 0.95, "right in {right}");
}

#[test]
fn a_large_difference_has_a_winner_and_a_sentence() {
    let found = rate(|seed| {
        let mut one = [measure(&blocks(seed, 3.1, 0.05, 10), seed)];
        judged(&mut one);
        let verdict = &one[0].verdict;
        verdict.kind == VerdictKind::Better && verdict.winner.as_deref() == Some("Node")
    });
    assert!(found >= 0.99, "found in {found}");
    let mut one = [measure(&blocks(1, 3.1, 0.01, 10), 1)];
    judged(&mut one);
    let sentence = &one[0].verdict.sentence;
    assert!(sentence.starts_with("Node 3.1× [3.") && sentence.ends_with("] faster at p50, 1 core"), "{sentence}");
    // Seen from the other side.
    let mut other = [measure(&blocks(1, 1.0 / 3.1, 0.01, 10), 1)];
    judged(&mut other);
    assert!(other[0].verdict.sentence.starts_with("Python 3.1× [3."), "{}", other[0].verdict.sentence);
}

#[test]
fn a_difference_beneath_the_noise_says_how_much_more_it_takes() {
    // Some of these are significant by luck and some sizes uncertain; none may claim a size that is wrong.
    for seed in 0..SEEDS {
        let mut one = [measure(&blocks(seed, 1.1, 0.3, 6), seed)];
        match judged(&mut one)[0] {
            VerdictKind::Inconclusive => {
                let verdict = &one[0].verdict;
                assert!(verdict.blocks_more.is_none_or(|more| more > 0), "{verdict:?}");
                assert!(verdict.sentence.starts_with("inconclusive: "), "{verdict:?}");
            }
            VerdictKind::BetterSizeUncertain => assert!(one[0].verdict.sentence.contains("size uncertain")),
            _ => {}
        }
    }
    // What the estimate promises holds: with so many more blocks most are decided.
    let decided = (0..200).filter(|&seed| {
        let few = blocks(seed, 1.3, 0.2, 6);
        let mut one = [measure(&few, seed)];
        if judged(&mut one)[0] != VerdictKind::Inconclusive {
            return true;
        }
        let Some(more) = one[0].verdict.blocks_more else { return false };
        let mut again = [measure(&blocks(seed + 5_000, 1.3, 0.2, 6 + 2 * more), seed)];
        judged(&mut again)[0] != VerdictKind::Inconclusive
    });
    assert!(decided.count() >= 140, "the estimate of blocks is of use");
}

#[test]
fn below_six_blocks_nothing_is_concluded_and_what_is_missing_is_said() {
    for count in 3..6 {
        let mut one = [measure(&blocks(1, 3.0, 0.01, count), 1)];
        judged(&mut one);
        let verdict = &one[0].verdict;
        assert_eq!((verdict.kind, verdict.blocks_more), (VerdictKind::Inconclusive, Some(6 - count)), "{verdict:?}");
    }
    let mut one = [measure(&blocks(1, 3.0, 0.01, 3), 1)];
    judged(&mut one);
    assert_eq!(one[0].verdict.sentence, "inconclusive: about 3 more blocks (5 min)");
    let mut none = [Measure { ratio: None, ..one[0].clone() }];
    judged(&mut none);
    assert_eq!(none[0].verdict.sentence, "inconclusive: too few blocks in which each launch has a value");
}

#[test]
fn more_criteria_ask_for_more_blocks() {
    let few = blocks(11, 1.15, 0.15, 6);
    let alone = &mut [measure(&few, 11)];
    assert_eq!(judged(alone), [VerdictKind::Inconclusive]);
    let mut all: Vec<Measure> = (0..12).map(|_| measure(&few, 11)).collect();
    judged(&mut all);
    let more = |measure: &Measure| measure.verdict.blocks_more.unwrap();
    assert!(more(&all[0]) > more(&alone[0]), "{} and {}", more(&all[0]), more(&alone[0]));
}

#[test]
fn a_value_known_only_from_below_may_win_and_nothing_else() {
    // Right's throughput is `ratio` times left's; `limited` are the sides of which the generator was the limit.
    let said = |ratio: f64, limited: [bool; 2]| {
        let mut one = measure(&blocks(1, ratio, 0.01, 10), 1);
        (one.better, one.title) = (Better::More, "capacity".to_owned());
        (one.left.at_least, one.right.at_least) = limited.into();
        let mut one = [one];
        judged(&mut one);
        one[0].verdict.sentence.clone()
    };
    assert!(said(3.1, [false, true]).starts_with("Python ≥ 3.1× ["), "{}", said(3.1, [false, true]));
    assert_eq!(said(3.1, [true, false]), "no verdict: the load generator was the limit of Node");
    assert_eq!(said(1.0, [true, false]), "no verdict: the load generator was the limit of Node");
    assert_eq!(said(3.1, [true, true]), "no verdict: the load generator was the limit of both");
    assert!(said(1.0, [false, false]).starts_with("equal within ±5%"));
}

#[test]
fn the_noise_band_is_that_of_identical_launches() {
    let quiet: Vec<f64> = (0..200).map(|seed| blocks(seed, 3.0, 0.01, 10).noise(0.95)).collect();
    let noisy: Vec<f64> = (0..200).map(|seed| blocks(seed, 3.0, 0.3, 10).noise(0.95)).collect();
    assert!(median(&quiet) < 1.06 && median(&noisy) > 1.1, "{} {}", median(&quiet), median(&noisy));
}

/// 2,000 calls of 1 ms at rest with 5% noise, slower by `factor(part)` where `part` is how far the launch is.
fn launch(seed: u64, factor: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let noise = LogNormal::new(0.0, 0.05).unwrap();
    let mut at = 0.0;
    (0..2_000)
        .map(|n| {
            let took = 1e-3 * factor(f64::from(n) / 2_000.0) * noise.sample(&mut random);
            at += took;
            (at - took, took)
        })
        .collect()
}

fn check_warm_up(expected: WarmUpClass, factor: impl Fn(f64) -> f64 + Copy) {
    let found = (0..100).filter(|&seed| warm_up(&launch(seed, factor)).unwrap().class == expected).count();
    assert!(found >= 95, "{expected:?} in {found} of 100");
}

#[test]
fn warm_up_is_found_by_its_change_points() {
    check_warm_up(WarmUpClass::Flat, |_| 1.0);
    check_warm_up(WarmUpClass::WarmUp, |part| if part < 0.2 { 4.0 } else { 1.0 });
    check_warm_up(WarmUpClass::WarmUp, |part| match part {
        p if p < 0.1 => 9.0,
        p if p < 0.4 => 2.0,
        _ => 1.0,
    });
    check_warm_up(WarmUpClass::SlowDown, |part| if part < 0.5 { 1.0 } else { 1.4 });
    check_warm_up(WarmUpClass::NoSteadyState, |part| 1.0 + 2.0 * part * part);
    let steady = warm_up(&launch(1, |part| if part < 0.2 { 4.0 } else { 1.0 })).unwrap().steady_after_seconds.unwrap();
    // The first fifth of the calls took four times as long: 1.6 s of 3.2 s.
    assert!((1.5..1.75).contains(&steady), "{steady}");
    assert_eq!(warm_up(&launch(1, |_| 1.0)[..5]), None, "too few to say");
}

#[test]
fn single_pauses_are_no_change() {
    // Every hundredth call takes 20 times as long: a collector, or a heavy tail.
    let mut found = 0;
    for seed in 0..100 {
        let mut samples = launch(seed, |_| 1.0);
        samples.iter_mut().skip(seed as usize).step_by(100).for_each(|sample| sample.1 *= 20.0);
        found += usize::from(warm_up(&samples).unwrap().class == WarmUpClass::Flat);
    }
    assert!(found >= 95, "flat in {found} of 100");
}

/// A tail that begins where p99 lies: now and then a launch has it within its p99. That is a winner whose size is uncertain, never an
/// equality, and never the other side.
#[test]
fn a_tail_of_one_in_a_hundred_is_never_the_other_sides() {
    let seeds = 20;
    let mut found = 0;
    for seed in 0..seeds {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let noise = LogNormal::new(0.0, 0.1).unwrap();
        let (mut medians, mut tails) = (Vec::new(), Vec::new());
        for (block, order) in compare::statistics::order::blocks(10, seed).into_iter().enumerate() {
            for which in order {
                let mut one = || {
                    let heavy = which == Which::Right && random.random::<f64>() < 0.01;
                    1e-3 * noise.sample(&mut random) * if heavy { 10.0 } else { 1.0 }
                };
                let values: Vec<f64> = (0..10_000).map(|_| one()).collect();
                medians.push((block as u32, which, quantile(&values, 0.5)));
                tails.push((block as u32, which, quantile(&values, 0.99)));
            }
        }
        let mut both = [measure(&Blocks::gather(medians), seed), measure(&Blocks::gather(tails), seed)];
        let kinds = judged(&mut both);
        assert_eq!(kinds[0], VerdictKind::Equal, "seed {seed}");
        assert_ne!(both[1].verdict.winner.as_deref(), Some("Python"), "seed {seed}");
        assert_ne!(kinds[1], VerdictKind::Equal, "seed {seed}");
        found += usize::from(both[1].verdict.winner.as_deref() == Some("Node"));
    }
    assert!(found * 10 >= seeds as usize * 8, "found in {found} of {seeds}");
}

/// Answers of both sides to 1,500 questions, each side asked twice.
fn answers(seed: u64, mut side: impl FnMut(usize, &mut Xoshiro256PlusPlus) -> serde_json::Value) -> compare::document::Equality {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut comparer = Comparer::new(Likeness::default());
    for number in 0..1_500 {
        let mut answer = |which| Answer { parts: Vec::new(), json: Some(side(which, &mut random)) };
        let [a, b, c, d] = [0, 0, 1, 1].map(&mut answer);
        comparer.add(&number.to_string(), [&a, &b], [&c, &d]);
    }
    comparer.finish(1, 1_500, 0.95)
}

#[test]
fn one_wrong_answer_in_500_is_found_in_nearly_every_run() {
    let found = (0..300).filter(|&seed| {
        let equality = answers(seed, |side, random| (side == 1 && random.random::<f64>() < 1.0 / 500.0).into());
        equality.outcome == Outcome::Different && equality.differences[0].class == DifferenceClass::Unstable
    });
    // 3,000 answers of the side that is wrong: all of them right in 0.25% of runs.
    assert!(found.count() >= 295);
}

#[test]
fn what_is_random_on_both_sides_is_noise() {
    for part in [0.5, 0.02] {
        let equal =
            (0..300).filter(|&seed| answers(seed, |_, random| (random.random::<f64>() < part).into()).outcome == Outcome::Equal);
        let count = equal.count();
        assert!(count >= 285, "equal in {count} of 300 where one in {:.0} is other", 1.0 / part);
    }
}

#[test]
fn a_heavy_tail_shows_at_p99_and_not_at_p50() {
    // One in fifty requests of right takes ten times as long; each launch has 10,000 of them.
    let mut medians = Vec::new();
    let mut tails = Vec::new();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(4);
    let noise = LogNormal::new(0.0, 0.1).unwrap();
    for (block, order) in compare::statistics::order::blocks(10, 4).into_iter().enumerate() {
        for which in order {
            let heavy = |n: u32| if which == Which::Right && n.is_multiple_of(50) { 10.0 } else { 1.0 };
            let values: Vec<f64> = (0..10_000).map(|n| 1e-3 * heavy(n) * noise.sample(&mut random)).collect();
            medians.push((block as u32, which, quantile(&values, 0.5)));
            tails.push((block as u32, which, quantile(&values, 0.99)));
        }
    }
    let (p50, p99) = (Blocks::gather(medians), Blocks::gather(tails));
    let mut both = [measure(&p50, 1), measure(&p99, 1)];
    assert_eq!(judged(&mut both), [VerdictKind::Equal, VerdictKind::Better]);
    assert!(both[1].ratio.as_ref().unwrap().estimate > 5.0);
}
