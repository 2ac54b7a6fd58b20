//! Long outages in simulated time. Each compares the sent records with those the backend
//! accepted.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use guard_agent::clock::Clock;
use guard_agent::defaults::DEFAULT_STATUS_INTERVAL;
use guard_agent::{Agent, AgentBuilder};

use crate::support::backend::{Answer, Backend};
use crate::support::clock::ManualClock;
use crate::support::{Outcome, builder, eventually, ledger, send};

const SECOND: Duration = Duration::from_secs(1);
/// The clock moves in whole seconds, and nothing else that the agent waits for uses half
/// seconds. So requests in progress can be recognized by the time at which they end.
const TIMEOUT: Duration = Duration::from_millis(29_500);
const SLOW: Duration = Duration::from_secs(28);
const OUTAGE_SECONDS: usize = 600;
/// Fewer than it makes, because time passes while a request is made.
const LEAST_ASKED: usize = 5;
const DAY: i64 = 86_400;

/// Answers that are sent at a later time.
struct Late {
    clock: ManualClock,
    waiting: Mutex<Vec<(Instant, Sender<Answer>)>>,
}

impl Late {
    fn ok(&self, wait: Duration) -> Answer {
        let (answer, answers) = channel();
        let at = self.clock.now() + wait;
        self.waiting.lock().expect("whole").push((at, answer));
        Answer::Later(answers)
    }

    fn release(&self) {
        let now = self.clock.now();
        let mut waiting = self.waiting.lock().expect("whole");
        for (_, answer) in waiting.extract_if(.., |(at, _)| *at <= now) {
            answer.send(Answer::ok()).expect("awaited");
        }
    }

    fn count(&self) -> usize {
        self.waiting.lock().expect("whole").len()
    }
}

/// A backend that fails until it recovers, and the records that it accepted.
struct Patient {
    backend: Backend,
    clock: ManualClock,
    well: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    late: Arc<Late>,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Patient {
    fn ill(answer: impl Fn(&Late) -> Answer + Send + 'static) -> Self {
        let clock = ManualClock::new();
        let waiting = Mutex::default();
        let late = Arc::new(Late {
            clock: clock.clone(),
            waiting,
        });
        let well = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (is_well, count, take) = (Arc::clone(&well), Arc::clone(&asked), Arc::clone(&taken));
        let slow = Arc::clone(&late);
        let backend = Backend::start(move |_, request| {
            count.fetch_add(1, Ordering::Relaxed);
            let answer = if is_well.load(Ordering::Relaxed) {
                Answer::ok()
            } else {
                answer(&slow)
            };
            if matches!(answer, Answer::Plain(200, ..) | Answer::Later(_)) {
                take.lock().expect("whole").extend(request.keys());
            }
            answer
        });
        Self {
            backend,
            clock,
            well,
            asked,
            late,
            taken,
        }
    }

    fn builder(&self) -> AgentBuilder {
        builder(&self.backend.url())
            .timeout(TIMEOUT)
            .clock(self.clock.clone())
    }

    /// Advances the clock by a second, once everything due has happened: all tasks due to wake
    /// are awake, and the only requests in progress are those that the backend has not answered
    /// yet. So no answered request ends by its timeout.
    fn second(&self, agent: &Agent) {
        eventually("all quiet", || {
            let arrived = self.backend.arrived() as u64;
            let held = self.backend.silent() + self.late.count();
            agent.stats().requests.requests_sent == arrived
                && self.clock.sleepers_at_fraction(TIMEOUT.subsec_nanos()) == Some(held)
        });
        self.clock.advance(SECOND);
        self.late.release();
    }

    /// Lets the backend recover, and advances the clock until it has everything.
    fn recover(&self, agent: &Agent) {
        self.well.store(true, Ordering::Relaxed);
        eventually("delivered", || {
            self.second(agent);
            ledger(agent).queued == 0
        });
    }

    fn outcome(&self, agent: &Agent, sent: usize) -> Outcome {
        let report = ledger(agent);
        let taken = self.taken.lock().expect("whole");
        assert_eq!(
            (report.accepted, report.delivered),
            (sent as u64, sent as u64)
        );
        Outcome::compare(0..sent, 0..sent, &taken)
    }
}

/// Ten simulated minutes of an outage, with ten events a second.
fn outage(fault: &str, answer: fn(&Late) -> Answer) {
    let patient = Patient::ill(answer);
    let agent = patient.builder().build().expect("valid");
    agent.start();
    // The worker runs: it waits for the time of the next status report.
    let interval = DEFAULT_STATUS_INTERVAL.as_secs_f64();
    patient.clock.wait_for_sleeper(interval, interval);
    for second in 0..OUTAGE_SECONDS {
        send(&agent, second * 10, 10);
        patient.second(&agent);
    }
    let asked = patient.asked.load(Ordering::Relaxed);
    assert!(asked >= LEAST_ASKED, "asked {asked} times only");
    patient.recover(&agent);
    patient
        .outcome(&agent, OUTAGE_SECONDS * 10)
        .tell(fault, "none");
}

#[test]
fn ten_minutes_of_500_lose_nothing() {
    let fault = "backend answers 500 for 10 simulated minutes";
    outage(fault, |_| Answer::status(500));
}

#[test]
fn ten_minutes_of_cut_connections_lose_nothing() {
    let fault = "backend cuts every answer for 10 simulated minutes";
    outage(fault, |_| Answer::Cut);
}

#[test]
fn ten_minutes_of_silence_lose_nothing() {
    let fault = "backend is silent for 10 simulated minutes";
    outage(fault, |_| Answer::Silence);
}

#[test]
fn ten_minutes_of_slow_answers_lose_nothing() {
    let fault = "backend takes 28 s for each answer, for 10 simulated minutes";
    outage(fault, |late| late.ok(SLOW));
}

#[test]
fn every_retry_after_value_loses_nothing() {
    for value in ["0", "Sun, 06 Nov 1994 08:49:37 GMT", "1e9", "NaN", "-1"] {
        for status in [429, 503] {
            let patient = Patient::ill(move |_| Answer::with(status, "Retry-After", value));
            let agent = patient.builder().build().expect("valid");
            agent.start();
            send(&agent, 0, 100);
            eventually("asked twice", || {
                patient.second(&agent);
                patient.asked.load(Ordering::Relaxed) >= 2
            });
            patient.recover(&agent);
            let fault = format!("{status} with Retry-After: {value}");
            patient.outcome(&agent, 100).tell(&fault, "none");
        }
    }
}

/// A clock whose wall time can be set. Waits use the monotonic clock.
#[derive(Debug, Clone)]
struct Stepping {
    clock: ManualClock,
    seconds: Arc<AtomicI64>,
}

impl Clock for Stepping {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn wall(&self) -> SystemTime {
        let step = self.seconds.load(Ordering::Relaxed);
        let by = Duration::from_secs(step.unsigned_abs());
        if step < 0 {
            self.clock.wall() - by
        } else {
            self.clock.wall() + by
        }
    }

    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.clock.sleep_until(at)
    }
}

#[test]
fn wall_clock_steps_change_no_wait_and_no_order() {
    for (step, name) in [
        (DAY, "a day on"),
        (-DAY, "a day back"),
        (3653 * DAY, "ten years on"),
        (-3653 * DAY, "ten years back"),
    ] {
        let patient = Patient::ill(|_| Answer::with(429, "Retry-After", 7));
        let clock = patient.clock.clone();
        let seconds = Arc::new(AtomicI64::new(0));
        let agent = patient
            .builder()
            .clock(Stepping {
                clock: clock.clone(),
                seconds: Arc::clone(&seconds),
            })
            .build()
            .expect("valid");
        send(&agent, 0, 50);
        agent.flush(Duration::ZERO);
        clock.wait_for_sleeper(7.0, 7.0);
        seconds.store(step, Ordering::Relaxed);
        send(&agent, 50, 50);
        clock.wait_for_sleeper(7.0, 7.0);
        patient.well.store(true, Ordering::Relaxed);
        clock.advance(7 * SECOND);
        eventually("delivered after the wait, no other", || {
            agent.flush(Duration::ZERO);
            ledger(&agent).delivered == 100
        });
        let expected: Vec<String> = (0..100).map(|number| format!("#{number}")).collect();
        assert_eq!(*patient.taken.lock().expect("whole"), expected);
        let fault = format!("wall clock steps {name}");
        patient.outcome(&agent, 100).tell(&fault, "none");
    }
}
