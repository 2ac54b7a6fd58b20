//! Answers that are made after the handler has returned.
//!
//! Thousands of requests wait for rules, each for up to a minute. Meanwhile, the layers of the router
//! and the request itself would take most of their memory. So the handler returns at once: an empty
//! answer that stands for a later one. The layers prepare what they do with the answer, and end. The
//! connection waits for it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::{IntoResponse as _, Response};

type Making = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The extension of an answer that stands for a later one.
#[derive(Clone)]
struct Later(Arc<Mutex<Option<Making>>>);

/// An answer that stands for the one that `making` returns.
pub(super) fn later(making: impl Future<Output = Response> + Send + 'static) -> Response {
    let mut response = ().into_response();
    let making: Making = Box::pin(making);
    let later = Later(Arc::new(Mutex::new(Some(making))));
    response.extensions_mut().insert(later);
    response
}

/// Changes the answer: at once, or when it is made.
pub(super) fn when_made(
    mut response: Response,
    change: impl FnOnce(Response) -> Response + Send + 'static,
) -> Response {
    match take(&mut response) {
        Some(making) => later(async move { change(making.await) }),
        None => change(response),
    }
}

/// Waits until the answer is made.
pub(super) async fn made(mut response: Response) -> Response {
    match take(&mut response) {
        Some(making) => {
            drop(response);
            making.await
        }
        None => response,
    }
}

fn take(response: &mut Response) -> Option<Making> {
    let Later(making) = response.extensions_mut().remove()?;
    making.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, StatusCode};
    use tokio::sync::oneshot;

    use super::*;

    fn marked(mut response: Response) -> Response {
        let mark = HeaderValue::from_static("yes");
        response.headers_mut().insert("x-marked", mark);
        response
    }

    #[tokio::test]
    async fn layers_change_a_later_answer_when_it_is_made() {
        let (send, sent) = oneshot::channel::<()>();
        let response = later(async move {
            sent.await.unwrap();
            StatusCode::NOT_MODIFIED.into_response()
        });
        let response = when_made(response, marked);
        assert_eq!(response.headers().len(), 0, "it only stands for the answer");
        send.send(()).unwrap();
        let response = made(response).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(response.headers()["x-marked"], "yes");
    }

    #[tokio::test]
    async fn layers_change_other_answers_at_once() {
        let response = when_made(StatusCode::OK.into_response(), marked);
        assert_eq!(response.headers()["x-marked"], "yes");
        assert_eq!(made(response).await.headers()["x-marked"], "yes");
    }
}
