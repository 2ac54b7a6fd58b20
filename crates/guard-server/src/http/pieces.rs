//! Answers that are made piece by piece while the client reads, so that a large one needs little
//! memory. They end when the client does.

use axum::body::{Body, Bytes};
use futures_util::{StreamExt as _, stream};

use super::error::ApiError;

/// An answer in pieces.
pub(crate) trait Pieces: Send + Sized + 'static {
    /// Makes the next piece.
    fn piece(&mut self) -> impl Future<Output = Result<Bytes, ApiError>> + Send;

    /// Whether the last piece was made.
    fn is_complete(&self) -> bool;

    /// Starts the answer. A failure before the first piece gives an error answer. A later failure
    /// cuts the answer off.
    async fn body(mut self) -> Result<Body, ApiError> {
        let first = self.piece().await?;
        if self.is_complete() {
            return Ok(Body::from(first));
        }
        let rest = stream::unfold(Some(self), async |pieces| {
            let mut pieces = pieces.filter(|pieces| !pieces.is_complete())?;
            let piece = pieces.piece().await;
            // Nothing is sent after a failure.
            let next = piece.is_ok().then_some(pieces);
            Some((piece, next))
        });
        Ok(Body::from_stream(stream::iter([Ok(first)]).chain(rest)))
    }
}
