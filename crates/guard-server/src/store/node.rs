//! How this server stands among the servers that use the same stores.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

/// How many nodes may write telemetry at the same time.
pub const MAX_NODES: u16 = 16;

/// How this server stands among the servers that use the same stores. Clones share it.
///
/// One of them leads: it does the periodic work that must be done once. Each has a different slot, a
/// number that is a part of the positions in the order of arrival. Both are held for a short time
/// and renewed. If a server cannot renew them in time, it stops before another one takes over.
#[derive(Debug, Clone)]
pub struct Node {
    standing: watch::Receiver<Standing>,
    changed: Arc<Notify>,
}

/// The other end of a [`Node`]: what holds its place.
#[derive(Debug)]
pub(crate) struct Membership {
    standing: watch::Sender<Standing>,
    changed: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Standing {
    leads: bool,
    slot: Option<u16>,
    /// When this ends unless it is renewed. `None` for never.
    until: Option<Instant>,
}

impl Standing {
    fn now(self) -> Self {
        match self.until {
            Some(until) if until <= Instant::now() => Self::default(),
            _ => self,
        }
    }
}

impl Node {
    /// The only server. It always leads.
    pub fn alone() -> Self {
        let (membership, node) = Membership::new();
        membership.standing.send_replace(Standing {
            leads: true,
            slot: None,
            until: None,
        });
        node
    }

    /// A command that runs beside the servers. It never leads and has no slot.
    pub fn visitor() -> Self {
        Membership::new().1
    }

    /// Whether this server leads.
    pub fn leads(&self) -> bool {
        self.standing.borrow().now().leads
    }

    /// The slot of this server, from 1 to [`MAX_NODES`]. `None` if it has none, or may have lost it.
    pub fn slot(&self) -> Option<u16> {
        self.standing.borrow().now().slot
    }

    /// Completes when this server leads.
    pub async fn elected(&self) {
        let mut standing = self.standing.clone();
        if standing.wait_for(|it| it.now().leads).await.is_err() && !self.leads() {
            std::future::pending().await
        }
    }

    /// Completes when this server does not lead.
    pub async fn deposed(&self) {
        let mut standing = self.standing.clone();
        loop {
            let current = standing.borrow_and_update().now();
            if !current.leads {
                return;
            }
            let ends = async {
                match current.until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let renewed = async {
                if standing.changed().await.is_err() {
                    // It is not renewed any more, so it ends at its time.
                    std::future::pending().await
                }
            };
            tokio::select! {
                () = ends => {}
                () = renewed => {}
            }
        }
    }

    /// Completes when another server may have changed rules. After a change between two calls, the
    /// next call completes at once.
    pub async fn rules_changed(&self) {
        self.changed.notified().await;
    }
}

impl Membership {
    /// A node without a place, and the end that gives it one.
    pub(crate) fn new() -> (Self, Node) {
        let (sender, standing) = watch::channel(Standing::default());
        let changed = Arc::new(Notify::new());
        let node = Node {
            standing,
            changed: Arc::clone(&changed),
        };
        let standing = sender;
        (Self { standing, changed }, node)
    }

    /// The node has this place until then. Returns whether it leads since this call.
    pub(crate) fn hold(&self, slot: u16, leads: bool, until: Instant) -> bool {
        let before = self.standing.send_replace(Standing {
            leads,
            slot: Some(slot),
            until: Some(until),
        });
        leads && !before.now().leads
    }

    /// The node has no place any more. Returns whether it led.
    pub(crate) fn release(&self) -> bool {
        self.standing.send_replace(Standing::default()).leads
    }

    /// Completes when the last clone of the node is dropped.
    pub(crate) async fn is_over(&self) {
        self.standing.closed().await;
    }

    /// Another server may have changed rules.
    pub(crate) fn rules_changed(&self) {
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    const LEASE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn the_only_server_leads_and_a_command_never_does() {
        let alone = Node::alone();
        alone.elected().await;
        assert!(alone.leads());
        assert_eq!(alone.deposed().now_or_never(), None);
        let visitor = Node::visitor();
        assert!(!visitor.leads());
        assert_eq!(visitor.elected().now_or_never(), None);
        visitor.deposed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_not_renewed_ends_in_time() {
        let (membership, node) = Membership::new();
        assert!(membership.hold(3, true, Instant::now() + LEASE));
        node.elected().await;
        assert_eq!(node.slot(), Some(3));
        let since = Instant::now();
        node.deposed().await;
        assert_eq!(since.elapsed(), LEASE);
        assert!(!node.leads());
        assert_eq!(node.slot(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_renewed_stays() {
        let (membership, node) = Membership::new();
        membership.hold(3, true, Instant::now() + LEASE);
        let mut deposed = std::pin::pin!(node.deposed());
        for _ in 0..10 {
            assert_eq!(deposed.as_mut().now_or_never(), None);
            advance(LEASE / 2).await;
            assert!(!membership.hold(3, true, Instant::now() + LEASE));
        }
        assert!(membership.release());
        assert_eq!(deposed.now_or_never(), Some(()));
        assert_eq!(node.slot(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_lead_has_a_slot_and_waits_to_be_elected() {
        let (membership, node) = Membership::new();
        membership.hold(2, false, Instant::now() + LEASE);
        assert_eq!((node.leads(), node.slot()), (false, Some(2)));
        let mut elected = std::pin::pin!(node.elected());
        assert_eq!(elected.as_mut().now_or_never(), None);
        membership.hold(2, true, Instant::now() + LEASE);
        assert_eq!(elected.now_or_never(), Some(()));
    }

    #[tokio::test]
    async fn a_change_of_rules_wakes_who_waits_and_who_comes_later() {
        let (membership, node) = Membership::new();
        assert_eq!(node.rules_changed().now_or_never(), None);
        membership.rules_changed();
        assert_eq!(node.rules_changed().now_or_never(), Some(()));
        assert_eq!(node.rules_changed().now_or_never(), None);
    }
}
