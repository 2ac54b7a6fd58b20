//! One memory budget, in bytes, for the bodies of requests and answers. A body that does not fit
//! waits for a short time, then its request gets a 503.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::connections::queued;
use crate::http::error::ApiError;

/// How long a body waits for memory.
const PATIENCE: Duration = Duration::from_secs(5);
/// The budget is counted in units of this many bytes.
const UNIT: usize = 1024;
/// The first bytes of each body come from a part of the budget that large bodies cannot take. Small
/// bodies therefore pass while large ones wait.
pub(crate) const SMALL: usize = 64 * 1024;
/// The reserved share for small bodies: one part in this many.
const SMALL_PART: usize = 4;

/// The memory budget.
#[derive(Debug)]
pub(crate) struct Memory {
    small: Part,
    large: Part,
}

#[derive(Debug)]
struct Part {
    units: u32,
    free: Arc<Semaphore>,
}

/// Bytes reserved from the budget until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        let small = bytes / SMALL_PART;
        Self {
            small: Part::new(small),
            large: Part::new(bytes - small),
        }
    }

    /// Reserves memory for a body of `len` bytes.
    pub(crate) async fn reserve(&self, len: usize) -> Result<Reserved, ApiError> {
        let mut reserved = Reserved::default();
        reserved.grow(self, len).await?;
        Ok(reserved)
    }
}

impl Part {
    fn new(bytes: usize) -> Self {
        let units = units(bytes).max(1);
        let free = Arc::new(Semaphore::new(units as usize));
        Self { units, free }
    }

    /// Grows `held` to cover `bytes`, or the whole part if it is smaller.
    async fn grow(
        &self,
        held: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
    ) -> Result<(), ApiError> {
        let has = held
            .as_ref()
            .map_or(0, |held| units(held.num_permits() * UNIT));
        let more = units(bytes).min(self.units).saturating_sub(has);
        if more == 0 {
            return Ok(());
        }
        let waiting = Arc::clone(&self.free).acquire_many_owned(more);
        let Ok(Ok(more)) = queued(tokio::time::timeout(PATIENCE, waiting)).await else {
            return Err(ApiError::unavailable(
                "The server has no memory for more bodies; send the request again later",
            ));
        };
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }
}

impl Reserved {
    /// Waits until the reservation covers `len` bytes.
    pub(crate) async fn grow(&mut self, memory: &Memory, len: usize) -> Result<(), ApiError> {
        memory.small.grow(&mut self.small, len.min(SMALL)).await?;
        let large = len.saturating_sub(SMALL);
        memory.large.grow(&mut self.large, large).await
    }

    /// Gives back the memory beyond `len` bytes.
    pub(crate) fn shrink(&mut self, len: usize) {
        shrink(&mut self.small, len.min(SMALL));
        shrink(&mut self.large, len.saturating_sub(SMALL));
    }

    /// Ties the reservation to `bytes`: it is released when they are dropped.
    pub(crate) fn keep(mut self, bytes: Bytes) -> Bytes {
        self.shrink(bytes.len());
        Bytes::from_owner(Kept {
            bytes,
            _reserved: self,
        })
    }
}

struct Kept {
    bytes: Bytes,
    _reserved: Reserved,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn shrink(held: &mut Option<OwnedSemaphorePermit>, bytes: usize) {
    if let Some(held) = held {
        let extra = held.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        drop(held.split(extra));
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_fit_waits_and_is_then_refused() {
        let memory = Memory::new(4 * MIB);
        let mut first = memory.reserve(2 * MIB).await.unwrap();
        assert!(memory.reserve(2 * MIB).await.is_err());
        first.shrink(MIB);
        let second = memory.reserve(2 * MIB).await.unwrap();
        let releasing = async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(second);
        };
        let (third, ()) = tokio::join!(memory.reserve(2 * MIB), releasing);
        assert!(third.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn small_bodies_pass_while_large_ones_take_the_rest() {
        let memory = Memory::new(4 * MIB);
        let _large = memory.reserve(usize::MAX).await.unwrap();
        assert!(memory.reserve(2 * SMALL).await.is_err());
        let mut small = Vec::new();
        for _ in 0..15 {
            small.push(memory.reserve(SMALL).await.unwrap());
        }
        assert!(memory.reserve(SMALL).await.is_err(), "they are bounded too");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_keep_their_reservation_until_they_are_dropped() {
        let memory = Memory::new(4 * MIB);
        let reserved = memory.reserve(3 * MIB).await.unwrap();
        let bytes = reserved.keep(vec![0; 2 * MIB].into());
        let part = bytes.slice(..10);
        drop(bytes);
        assert!(memory.reserve(2 * MIB).await.is_err());
        drop(part);
        assert!(memory.reserve(2 * MIB).await.is_ok());
    }
}
