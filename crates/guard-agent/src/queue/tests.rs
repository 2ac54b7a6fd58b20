use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    policy: OverflowPolicy::Drop,
    max_items: 10,
    max_bytes: 10_000,
    watermark: 5,
    batch_bytes: 2_000,
    interval: Duration::from_secs(30),
};

/// A queue whose first records were sent long ago.
fn queue() -> Queue {
    let queue = Queue::new(LIMITS);
    lock(&queue.state).seen = [true; 2];
    queue
}

fn push(queue: &Queue, kind: Kind, count: usize) -> Vec<Pushed> {
    let now = Instant::now();
    (0..count)
        .map(|index| {
            let record = format!("{{\"n\":{index}}}");
            queue.push(kind, Incoming::Json(record.as_bytes()), || now)
        })
        .collect()
}

/// Time when the waiting records become due by age, if any wait.
fn due_at(queue: &Queue) -> Option<Instant> {
    lock(&queue.state).due_at()
}

fn texts(records: &[QueuedRecord]) -> Vec<String> {
    let text = |record: &QueuedRecord| String::from_utf8_lossy(record.as_ref()).into_owned();
    records.iter().map(text).collect()
}

#[test]
fn a_send_is_due_at_the_watermark() {
    let queue = queue();
    let now = Instant::now();
    push(&queue, Kind::Event, 4);
    assert!(queue.take(now, 1000).is_none());
    push(&queue, Kind::Event, 1);
    let (kind, batch) = queue.take(now, 1000).expect("due");
    assert_eq!((kind, batch.len()), (Kind::Event, 5));
    assert!(queue.take(now, 1000).is_none());
}

#[test]
fn a_send_is_due_when_the_oldest_record_has_waited_for_the_interval() {
    let queue = queue();
    push(&queue, Kind::Metric, 1);
    let due = due_at(&queue).expect("something waits");
    assert!(queue.take(due - Duration::from_millis(1), 1000).is_none());
    assert!(queue.take(due, 1000).is_some());
    assert_eq!(due_at(&queue), None);
}

#[test]
fn the_first_records_of_each_kind_are_due_early() {
    let queue = Queue::new(LIMITS);
    let start = Instant::now();
    let push_at = |kind, at| {
        assert_eq!(
            queue.push(kind, Incoming::Json(b"{}"), || at),
            Pushed::Queued
        );
    };
    let mut now = start;
    for kind in Kind::ALL {
        push_at(kind, now);
        push_at(kind, now + Duration::from_millis(1));
        assert_eq!(due_at(&queue), Some(now + FIRST_SEND_DELAY));
        now += FIRST_SEND_DELAY;
        assert_eq!(queue.take(now, 1000).expect("due").1.len(), 2);
        push_at(kind, now);
        assert_eq!(due_at(&queue), Some(now + LIMITS.interval));
        now += LIMITS.interval;
        assert_eq!(queue.take(now, 1000).expect("due").1.len(), 1);
    }
}

#[test]
fn an_interval_shorter_than_the_first_delay_is_kept() {
    let interval = FIRST_SEND_DELAY / 2;
    let queue = Queue::new(Limits { interval, ..LIMITS });
    let now = Instant::now();
    queue.push(Kind::Event, Incoming::Json(b"{}"), || now);
    assert_eq!(due_at(&queue), Some(now + interval));
}

#[test]
fn a_due_send_takes_both_kinds_batch_by_batch_within_the_limit() {
    let queue = queue();
    push(&queue, Kind::Metric, 3);
    push(&queue, Kind::Event, 4);
    let now = Instant::now();
    let mut sizes = Vec::new();
    while let Some((kind, batch)) = queue.take(now, 18) {
        sizes.push((kind, batch.len()));
    }
    let expected = [
        (Kind::Event, 2),
        (Kind::Event, 2),
        (Kind::Metric, 2),
        (Kind::Metric, 1),
    ];
    assert_eq!(sizes, expected);
}

#[test]
fn a_record_larger_than_a_batch_is_taken_alone() {
    let queue = queue();
    queue.push(Kind::Event, Incoming::Json(&[b'x'; 500]), Instant::now);
    push(&queue, Kind::Event, 4);
    let (_, batch) = queue.take(Instant::now(), 100).expect("due");
    assert_eq!(batch.len(), 1);
}

#[test]
fn a_full_queue_drops_the_oldest_metrics_before_the_oldest_events() {
    let queue = queue();
    push(&queue, Kind::Event, 8);
    push(&queue, Kind::Metric, 2);
    assert_eq!(
        push(&queue, Kind::Event, 3),
        [
            Pushed::Displaced(1),
            Pushed::Displaced(1),
            Pushed::Displaced(1),
        ]
    );
    let ledger = queue.ledger();
    assert_eq!(
        ledger.account(Kind::Metric).dropped(LossReason::QueueFull),
        2
    );
    assert_eq!(
        ledger.account(Kind::Event).dropped(LossReason::QueueFull),
        1
    );
    let (_, batch) = queue.take(Instant::now(), 1000).expect("due");
    assert_eq!(texts(&batch)[0], "{\"n\":1}");
}

#[test]
fn no_event_is_dropped_for_a_metric() {
    let queue = queue();
    push(&queue, Kind::Event, 10);
    assert_eq!(push(&queue, Kind::Metric, 1), [Pushed::Displaced(1)]);
    let ledger = queue.ledger();
    assert_eq!(ledger.account(Kind::Event).queued, 10);
    assert_eq!(
        ledger.account(Kind::Metric).dropped(LossReason::QueueFull),
        1
    );
}

#[test]
fn the_other_policies_refuse_and_count_nothing() {
    let queue = Queue::new(Limits {
        policy: OverflowPolicy::Raise,
        ..LIMITS
    });
    push(&queue, Kind::Event, 10);
    assert_eq!(push(&queue, Kind::Event, 1), [Pushed::Full]);
    assert_eq!(queue.ledger().report().accepted, 10);
}

#[test]
fn records_in_flight_count_toward_the_bounds_until_settled() {
    let queue = Queue::new(Limits {
        policy: OverflowPolicy::Block,
        ..LIMITS
    });
    push(&queue, Kind::Event, 10);
    let (kind, batch) = queue.take(Instant::now(), 1000).expect("due");
    assert!(!queue.wait_for_room(Some(Instant::now()), 0));
    queue.deliver(kind, &batch);
    assert!(queue.wait_for_room(Some(Instant::now()), 0));
}

#[test]
fn a_caller_that_waits_for_room_waits_for_enough_bytes() {
    let queue = Queue::new(Limits {
        policy: OverflowPolicy::Block,
        ..LIMITS
    });
    let now = Instant::now();
    let push = |bytes: usize| {
        let record = vec![b'x'; bytes];
        queue.push(Kind::Event, Incoming::Json(&record), || now)
    };
    assert_eq!((push(9_000), push(950)), (Pushed::Queued, Pushed::Full));
    assert!(
        !queue.wait_for_room(Some(Instant::now()), 0),
        "only a smaller one fits"
    );
    let (kind, batch) = queue.take(now, 9_000).expect("due");
    queue.deliver(kind, &batch);
    assert!(queue.wait_for_room(Some(Instant::now()), 0));
    assert_eq!(push(950), Pushed::Queued);
}

#[test]
fn with_a_store_records_in_flight_take_at_most_half_of_the_room() {
    let queue = queue();
    queue.enable_persistence();
    push(&queue, Kind::Event, 8);
    let (kind, batch) = queue.take(Instant::now(), 1000).expect("due");
    assert_eq!(batch.len(), 8);
    push(&queue, Kind::Event, 5);
    assert_eq!(push(&queue, Kind::Event, 1), [Pushed::Displaced(1)]);
    queue.deliver(kind, &batch);
    assert_eq!(push(&queue, Kind::Event, 5), [const { Pushed::Queued }; 5]);
}

#[test]
fn waiting_callers_are_released_when_the_agent_stops() {
    let queue = Queue::new(Limits {
        policy: OverflowPolicy::Block,
        ..LIMITS
    });
    push(&queue, Kind::Event, 10);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.wait_for_room(None, 0));
        queue.release();
        assert!(!waiting.join().expect("ends"));
    });
    assert_eq!(queue.releases(), 1);
}

#[test]
fn waiting_callers_are_released_when_the_policy_changes() {
    let blocking = Limits {
        policy: OverflowPolicy::Block,
        ..LIMITS
    };
    let queue = Queue::new(blocking);
    push(&queue, Kind::Event, 10);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.wait_for_room(None, 0));
        queue.set_limits(Limits {
            policy: OverflowPolicy::Raise,
            ..blocking
        });
        assert!(!waiting.join().expect("ends"));
    });
}

#[test]
fn a_queue_is_full_from_the_first_refusal_until_it_takes_a_record() {
    let queue = Queue::new(Limits {
        policy: OverflowPolicy::Block,
        ..LIMITS
    });
    let start = Instant::now();
    let push = |seconds: u64| {
        let now = start + Duration::from_secs(seconds);
        queue.push(Kind::Event, Incoming::Json(b"{}"), || now)
    };
    while push(0) == Pushed::Queued {
        assert_eq!(queue.full_since(), None);
    }
    assert_eq!((push(5), queue.full_since()), (Pushed::Full, Some(start)));
    let (kind, batch) = queue.take(start, 1000).expect("due");
    queue.deliver(kind, &batch);
    assert_eq!((push(6), queue.full_since()), (Pushed::Queued, None));
}

#[test]
fn a_flush_waits_for_what_was_queued_before_it_and_no_more() {
    let queue = queue();
    push(&queue, Kind::Event, 1);
    let flush = queue.start_flush();
    push(&queue, Kind::Event, 1);
    let (kind, batch) = queue.take(Instant::now(), 8).expect("due");
    assert!(!queue.wait_for_flush(flush, Duration::ZERO));
    queue.deliver(kind, &batch);
    assert!(queue.wait_for_flush(flush, Duration::ZERO));
    assert_eq!(queue.fill().items, 1);
}

#[test]
fn records_that_are_given_back_go_first_and_in_order() {
    let queue = queue();
    push(&queue, Kind::Event, 5);
    let now = Instant::now();
    let (kind, batch) = queue.take(now, 1000).expect("due");
    push(&queue, Kind::Event, 1);
    queue.give_back(kind, batch, now);
    let (_, again) = queue.take(now, 1000).expect("due");
    assert_eq!(again.len(), 6);
    assert_eq!(texts(&again)[..2], ["{\"n\":0}", "{\"n\":1}"]);
}

#[derive(Debug, Clone)]
enum Step {
    Push(bool, usize, Option<usize>),
    Refuse,
    Flush,
    Take(usize),
    Deliver,
    Lose,
    GiveBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<bool>(), 1_usize..4000, prop::option::of(1_usize..4000))
            .prop_map(|(is_event, len, size)| Step::Push(is_event, len, size)),
        1 => Just(Step::Refuse),
        1 => Just(Step::Flush),
        3 => (1_usize..4000).prop_map(Step::Take),
        1 => Just(Step::Deliver),
        1 => Just(Step::Lose),
        1 => Just(Step::GiveBack),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn the_ledger_balances_and_the_bounds_hold_whatever_happens(steps in steps()) {
        let queue = queue();
        let now = Instant::now();
        let mut flights = Vec::new();
        for step in steps {
            match step {
                Step::Push(is_event, len, size) => {
                    let kind = if is_event { Kind::Event } else { Kind::Metric };
                    let bytes = vec![b'x'; len];
                    let record = match size {
                        None => Incoming::Json(&bytes),
                        Some(size) => Incoming::Snapshot { bytes: &bytes, size },
                    };
                    queue.push(kind, record, || now);
                }
                Step::Refuse => queue.refuse(Kind::Event, LossReason::Invalid),
                Step::Flush => { queue.start_flush(); }
                Step::Take(bytes) => flights.extend(queue.take(now, bytes)),
                Step::Deliver => if let Some((kind, batch)) = flights.pop() {
                    queue.deliver(kind, &batch);
                },
                Step::Lose => if let Some((kind, batch)) = flights.pop() {
                    queue.lose(kind, &batch, LossReason::Rejected);
                },
                Step::GiveBack => if let Some((kind, batch)) = flights.pop() {
                    queue.give_back(kind, batch, now);
                },
            }
            let report = queue.ledger().report();
            let fill = queue.fill();
            prop_assert!(report.is_balanced());
            prop_assert_eq!(report.queued, fill.items as u64);
            let in_flight: usize = flights.iter().map(|(_, batch)| batch.len()).sum();
            prop_assert_eq!(fill.items, fill.waiting[0] + fill.waiting[1] + in_flight);
            prop_assert!(fill.items <= LIMITS.max_items);
            prop_assert!(fill.bytes <= LIMITS.max_bytes);
        }
        let last = queue.start_flush();
        for (kind, batch) in flights {
            queue.deliver(kind, &batch);
        }
        queue.abandon();
        prop_assert!(queue.wait_for_flush(last, Duration::ZERO));
        prop_assert_eq!(queue.fill().bytes, 0);
    }
}

/// True if the worker was woken since the last check.
fn is_woken(queue: &Queue) -> bool {
    queue.woken().now_or_never().is_some()
}

#[test]
fn the_first_record_of_each_kind_wakes_the_worker() {
    let queue = Queue::new(LIMITS);
    for kind in Kind::ALL {
        queue.next_look(true, Instant::now());
        push(&queue, kind, 1);
        assert!(is_woken(&queue));
        push(&queue, kind, 1);
        assert!(!is_woken(&queue));
    }
}

#[test]
fn a_first_waiting_record_does_not_wake_a_worker_that_checks_in_time() {
    let queue = queue();
    let now = Instant::now();
    assert_eq!(queue.next_look(true, now), Some(now + LIMITS.interval));
    push(&queue, Kind::Event, 1);
    assert!(!is_woken(&queue));
    assert!(due_at(&queue) >= Some(now + LIMITS.interval));
}

#[test]
fn a_full_batch_wakes_the_worker_once() {
    let queue = queue();
    queue.next_look(true, Instant::now());
    push(&queue, Kind::Event, 5);
    assert!(is_woken(&queue));
    queue.take(Instant::now(), 1000).expect("due");
    push(&queue, Kind::Event, 5);
    assert!(!is_woken(&queue), "it looks before it waits");
}

#[test]
fn a_batch_that_is_full_before_the_worker_waits_is_due_at_once() {
    let queue = queue();
    push(&queue, Kind::Event, 5);
    let now = Instant::now();
    assert_eq!(queue.next_look(true, now), Some(now));
}

#[test]
fn a_worker_that_may_take_no_batch_is_not_woken() {
    let queue = queue();
    assert_eq!(queue.next_look(false, Instant::now()), None);
    push(&queue, Kind::Event, 5);
    assert!(!is_woken(&queue));
}
