//! The loop that keeps the rules up to date.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::pending;
use guard_wire::rules::MAX_BYTES;
use guard_wire::status::RULES_REFUSED;
use jiff::Timestamp;
use tokio::task::spawn_blocking;

use crate::report::Level;
use crate::rules::cache::{Kept, Place};
use crate::rules::known::Put;
use crate::rules::response::{Failure, RulesAnswer, Trust, read};
use crate::rules::schedule::{Outcome, Pace, Seen, Terms};
use crate::rules::{RULES_PATIENCE, Rules};
use crate::shared::Shared;
use crate::transport::{Request, Response, TransportError};

const PATH: &str = "/api/v1/rules";

/// The wall clock may be set, so the time until rules expire is recomputed after this long.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Keeps the rules up to date once a caller wants them, for as long as it is polled.
///
/// Each request asks the backend to hold it until the rules change. A held request uses
/// its own connection, so that deliveries continue.
pub(crate) async fn follow(shared: &Shared) -> Infallible {
    shared.rules.wanted().await;
    let mut follower = Follower::new(shared);
    if shared.rules.is_blank() {
        follower.reserve = follower.load().await;
    }
    loop {
        let pause = follower.round().await;
        follower.rest(pause).await;
    }
}

/// Fetches the rules once, without being held.
pub(crate) async fn fetch(shared: &Shared) {
    let answer = shared.exchange(request(shared.rules.tag(), None)).await;
    Follower::new(shared).take(answer).await;
}

struct Follower<'s> {
    shared: &'s Shared,
    place: Option<Place>,
    pace: Pace,
    /// Rules from the disk, used until the backend has answered.
    reserve: Option<Kept>,
    /// The reason that was reported for the last unusable answer.
    said: Option<String>,
}

impl<'s> Follower<'s> {
    fn new(shared: &'s Shared) -> Self {
        Self {
            shared,
            place: Place::of(&shared.config),
            pace: Pace::default(),
            reserve: None,
            said: None,
        }
    }

    /// Makes one request. Returns how long to wait before the next.
    async fn round(&mut self) -> Duration {
        let (shared, known) = (self.shared, &*self.shared.rules);
        let started = shared.clock().now();
        let tag = known
            .tag()
            .or_else(|| self.reserve.as_ref().and_then(|kept| kept.tag.clone()));
        let was_conditional = tag.is_some();
        known.set_held(self.pace.is_held() && was_conditional);
        let hold = self.pace.hold();
        let answer = self.exchange(request(tag, Some(hold))).await;
        known.set_held(false);
        let took = shared.clock().now().saturating_duration_since(started);
        if was_conditional && is_cut_off(&answer) && self.pace.learn_from_cut(took) {
            return Duration::ZERO;
        }
        let response = answer.as_ref().ok();
        let next_tag = response.and_then(|response| response.tag.clone());
        let is_applied = response.is_some_and(applies_wait);
        let outcome = self.take(answer).await;
        let seen = Seen {
            outcome,
            took,
            was_conditional,
            has_tag: next_tag.is_some() || known.tag().is_some(),
            is_applied,
        };
        let settings = &shared.config.settings;
        let ttl = known.current(self.wall()).map(|rules| rules.document.ttl);
        let terms = Terms {
            interval: settings.dynamic_rule_interval,
            ttl: ttl.and_then(|ttl| u64::try_from(ttl).ok().map(Duration::from_secs)),
            factor: settings.backoff_factor,
        };
        self.pace.next(&seen, terms, fastrand::f64())
    }

    /// Sends one request and reads its answer. If the backend takes long with the first
    /// request, the rules from the disk are used meanwhile.
    async fn exchange(&mut self, request: Request) -> Result<Response, TransportError> {
        let shared = self.shared;
        let mut answer = pin!(shared.exchange(request));
        if self.reserve.is_some() {
            let patience = shared
                .clock()
                .sleep_until(shared.clock().now() + RULES_PATIENCE);
            tokio::select! {
                answer = &mut answer => return answer,
                () = patience => self.use_stored_rules(),
            }
        }
        self.until_ended(answer).await
    }

    /// Applies an answer.
    async fn take(&mut self, answer: Result<Response, TransportError>) -> Outcome {
        let (shared, known) = (self.shared, &*self.shared.rules);
        let (now, wall) = (shared.clock().now(), self.wall());
        let trust = Trust {
            secret: shared.config.signing_secret.as_deref(),
            has_signed: known.has_signed()
                || self.reserve.as_ref().is_some_and(|kept| kept.is_signed),
        };
        let (outcome, tag) = match answer {
            Ok(response) => {
                let outcome = read(&response, trust, shared.clock().wall());
                (outcome, response.tag)
            }
            Err(error) => (Err(Failure::unanswered(error.to_string())), None),
        };
        if outcome.is_ok() {
            self.said = None;
        }
        match outcome {
            Ok(RulesAnswer::Unchanged) => {
                self.use_stored_rules();
                known.confirm(now);
                Outcome::Same
            }
            Ok(RulesAnswer::None) => {
                let had_reserve = self.reserve.take().is_some();
                let put = Put {
                    rules: None,
                    tag,
                    is_signed: false,
                };
                let is_change = self.notify_change(known.put(put, now, wall));
                if is_change || had_reserve {
                    self.store(None).await;
                }
                changed(is_change)
            }
            Ok(RulesAnswer::Rules { rules, is_signed }) => {
                shared.requests.rules_fetched(true);
                let kept = Kept {
                    rules: Arc::from(rules),
                    tag,
                    is_signed,
                };
                let had_reserve = self.reserve.take().is_some();
                self.name_unknown_fields(&kept.rules);
                let is_change = self.notify_change(known.put(Put::from(kept.clone()), now, wall));
                if is_change || had_reserve {
                    self.store(Some(kept)).await;
                }
                changed(is_change)
            }
            Err(failure) => {
                shared.requests.rules_fetched(false);
                self.use_stored_rules();
                known.keep(now);
                self.report(&failure);
                Outcome::Failed(failure.wait)
            }
        }
    }

    /// Waits, unless a caller finds the known rules too old.
    async fn rest(&self, pause: Duration) {
        let clock = self.shared.clock();
        let until = clock.now() + pause;
        let rest = async {
            tokio::select! {
                () = clock.sleep_until(until) => {}
                () = self.shared.rules.too_old(|| clock.now()) => {}
            }
        };
        self.until_ended(pin!(rest)).await;
    }

    /// Runs `work`, and drops the rules in force when they expire meanwhile.
    async fn until_ended<W: Future + Unpin>(&self, mut work: W) -> W::Output {
        let (shared, known) = (self.shared, &self.shared.rules);
        loop {
            let end = known.ends_in(self.wall()).map(|left| {
                let at = shared.clock().now() + left.min(LONGEST_SLEEP);
                shared.clock().sleep_until(at)
            });
            let end = async {
                match end {
                    Some(end) => end.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = end => {
                    self.notify_change(known.drop_ended(self.wall()));
                }
            }
        }
    }

    /// Notifies the application if there is a change. Returns `is_change`.
    fn notify_change(&self, is_change: bool) -> bool {
        if is_change {
            self.shared.mark_status_dirty();
        }
        if let Some(hook) = self.shared.config.rules_hook.as_ref().filter(|_| is_change) {
            hook();
        }
        is_change
    }

    fn use_stored_rules(&mut self) {
        let Some(kept) = self.reserve.take() else {
            return;
        };
        let version = kept.rules.document.version;
        let now = self.shared.clock().now();
        let is_change = self.shared.rules.put(Put::from(kept), now, self.wall());
        self.notify_change(is_change);
        self.shared.report(Level::Info, "rules", "rules_kept", || {
            format!("rules version {version} from rules_cache_path are in force")
        });
    }

    /// Loads the rules from the disk. Unusable ones are reported and left alone.
    async fn load(&self) -> Option<Kept> {
        let place = self.place.clone()?;
        let (path, wall) = (place.path().to_owned(), self.wall());
        match spawn_blocking(move || place.load(wall)).await {
            Ok(Ok(kept)) => kept,
            Ok(Err(why)) => {
                self.shared.warn("rules", "rules_cache", || {
                    format!("{} is not used: {why}", path.display())
                });
                None
            }
            // The runtime is shutting down.
            Err(_) => None,
        }
    }

    /// Saves rules on the disk, or removes them if there are none.
    async fn store(&self, kept: Option<Kept>) {
        let Some(place) = self.place.clone() else {
            return;
        };
        let path = place.path().to_owned();
        let work = move || match kept {
            Some(kept) => place.save(&kept),
            None => place.clear(),
        };
        if let Ok(Err(error)) = spawn_blocking(work).await {
            self.shared.warn("rules", "rules_cache", || {
                let path = path.display();
                format!(
                    "rules not kept in {path}: {error}; they are in force all the same; make \
                     rules_cache_path writable for this user, or name another"
                )
            });
        }
    }

    /// Reports once why answers cannot be used. The backend also learns of a refused document,
    /// through a status report.
    fn report(&mut self, failure: &Failure) {
        let why = &failure.why;
        if self.said.as_ref() == Some(why) {
            return;
        }
        self.said = Some(why.clone());
        if failure.is_refusal {
            if self.shared.requests.remember([RULES_REFUSED, why].concat()) {
                self.shared.mark_status_dirty();
            }
            self.shared.error("rules", "rules_refused", || {
                format!("{RULES_REFUSED}{why}; the last good ones stay in force")
            });
        } else {
            self.shared.warn("rules", "rules", || {
                format!("rules not fetched: {why}; the last good ones stay in force")
            });
        }
    }

    fn name_unknown_fields(&self, rules: &Rules) {
        let unknown: Vec<&str> = rules.document.unknown_fields().collect();
        if !unknown.is_empty() {
            self.shared
                .report(Level::Info, "rules", "rules_fields", || {
                    let names = unknown.join(", ");
                    format!(
                        "rules have fields unknown to this agent, passed on as they are: {names}"
                    )
                });
        }
    }

    fn wall(&self) -> Timestamp {
        Timestamp::try_from(self.shared.clock().wall()).unwrap_or_default()
    }
}

impl From<Kept> for Put {
    fn from(kept: Kept) -> Self {
        Self {
            rules: Some(kept.rules),
            tag: kept.tag,
            is_signed: kept.is_signed,
        }
    }
}

fn changed(is_change: bool) -> Outcome {
    if is_change {
        Outcome::Changed
    } else {
        Outcome::Same
    }
}

/// Builds a request for rules other than the known ones. With `hold`, the backend holds it.
fn request(tag: Option<String>, hold: Option<Duration>) -> Request {
    let prefer = hold.map(|hold| ("Prefer", format!("wait={}", hold.as_secs())));
    let known = tag.map(|tag| ("If-None-Match", tag));
    Request {
        headers: prefer.into_iter().chain(known).collect(),
        hold: hold.unwrap_or_default(),
        // One byte more than allowed, so that a longer document is not taken for complete.
        max_response: MAX_BYTES + 1,
        ..Request::new(PATH)
    }
}

/// True if a proxy may have cut off a held request.
fn is_cut_off(answer: &Result<Response, TransportError>) -> bool {
    match answer {
        Ok(response) => {
            let is_timeout = matches!(response.status, 408 | 502..=504 | 520..=524);
            is_timeout && response.retry_after.is_none()
        }
        Err(error) => matches!(error, TransportError::Broken(_)),
    }
}

/// True if the backend says that it honours the wait (RFC 7240, section 3).
fn applies_wait(response: &Response) -> bool {
    let applied = response.preference_applied.as_deref().unwrap_or_default();
    applied
        .split(',')
        .filter_map(|preference| preference.split(['=', ';']).next())
        .any(|name| name.trim().eq_ignore_ascii_case("wait"))
}
