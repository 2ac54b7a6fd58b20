//! Ends requests that are held for a key when the key is revoked.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::KeyId;

/// The keys of requests that are held.
#[derive(Debug, Default)]
pub(crate) struct KeyWatch(Mutex<HashMap<KeyId, watch::Sender<bool>>>);

/// Learns when a key is revoked.
#[derive(Debug)]
pub(crate) struct Watched(watch::Receiver<bool>);

impl KeyWatch {
    /// Watches a key as long as the result lives.
    pub(crate) fn watch(&self, key: &KeyId) -> Watched {
        let mut keys = self.keys();
        let sender = keys.entry(key.clone()).or_default();
        Watched(sender.subscribe())
    }

    /// The watched keys. Forgets those that nobody watches any more.
    pub(crate) fn watched(&self) -> Vec<KeyId> {
        let mut keys = self.keys();
        keys.retain(|_, sender| sender.receiver_count() > 0);
        keys.keys().cloned().collect()
    }

    /// Ends the requests of this key.
    pub(crate) fn revoked(&self, key: &KeyId) {
        if let Some(sender) = self.keys().remove(key) {
            sender.send_replace(true);
        }
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, HashMap<KeyId, watch::Sender<bool>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Completes when the key is revoked.
    pub(crate) async fn revoked(&mut self) {
        if self.0.wait_for(|is_revoked| *is_revoked).await.is_err() {
            // Only `KeyWatch` ends senders: when it forgets a key that was revoked, or is dropped.
            std::future::pending::<()>().await;
        }
    }

    /// Whether the key is revoked.
    pub(crate) fn is_revoked(&self) -> bool {
        *self.0.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_requests_of_the_revoked_key_end() {
        let watch = KeyWatch::default();
        let [one, other] = ["one", "other"].map(|id| KeyId(id.to_owned()));
        let mut held = [watch.watch(&one), watch.watch(&one)];
        let kept = watch.watch(&other);
        watch.revoked(&one);
        for held in &mut held {
            held.revoked().await;
            assert!(held.is_revoked());
        }
        assert!(!kept.is_revoked());
        assert_eq!(watch.watched(), [other]);
        drop(kept);
        assert_eq!(watch.watched(), []);
    }
}
