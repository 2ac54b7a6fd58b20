//! Requests and answers between a connection and the application.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderValue, Request, Response, Uri, Version, header};
use axum::response::IntoResponse as _;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::task::yield_now;
use tokio::task_local;
use tower::ServiceExt as _;

use super::activity::Activity;
use super::heads::MAX_REQUEST_LINE;
use crate::http::error::ApiError;
use crate::http::later::made;
use crate::query::filter::MAX_FILTER_BYTES;

/// The longest piece of an answer over HTTP/2.
const PIECE: usize = 16 * 1024;

task_local! {
    /// The activity of the connection whose request is handled.
    static ACTIVITY: Arc<Activity>;
}

/// Waits for `turn` while a request is handled. Meanwhile the server may close the connection if it
/// can close no other one.
pub(crate) async fn queued<T>(turn: impl Future<Output = T>) -> T {
    let _queued = ACTIVITY.try_with(|activity| {
        activity.queue_began();
        Queued(Arc::clone(activity))
    });
    turn.await
}

/// Records on drop that the request no longer waits.
struct Queued(Arc<Activity>);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.queue_ended();
    }
}

/// Lets `app` answer a request, and records the progress in `activity`.
pub(super) fn answer(
    app: Router,
    request: Request<Incoming>,
    activity: &Arc<Activity>,
) -> impl Future<Output = Result<Response<Answer>, Infallible>> + use<> {
    let (activity, is_pipelined) = if request.version() == Version::HTTP_2 {
        (activity.stream_began(), false)
    } else {
        (Arc::clone(activity), activity.request_began())
    };
    async move {
        if is_pipelined {
            // Let other connections go first.
            yield_now().await;
        }
        let refusal = refusal(&request);
        let request = request.map(|body| Arriving {
            body,
            activity: Arc::clone(&activity),
        });
        let response = match refusal {
            None => {
                let answering = app.oneshot(request);
                let response = ACTIVITY.scope(Arc::clone(&activity), answering).await?;
                made(response).await
            }
            Some(response) => response,
        };
        let ended = Ended(activity);
        Ok(response.map(|body| Answer {
            body,
            ended,
            rest: Bytes::new(),
            sent: 0,
        }))
    }
}

/// The answer to a request that is not read any further.
fn refusal<B>(request: &Request<B>) -> Option<Response<Body>> {
    if !has_clear_framing(request.headers()) {
        let error = ApiError::bad_request("Transfer-Encoding is not `chunked` alone");
        let mut response = error.into_response();
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        return Some(response);
    }
    let line = request.method().as_str().len() + 1 + target_len(request.uri());
    (line >= MAX_REQUEST_LINE).then(|| {
        let detail = format!(
            "The URL is longer than {MAX_REQUEST_LINE} bytes; shorten it (a filter may have \
             {MAX_FILTER_BYTES} bytes)"
        );
        let error = ApiError::bad_request(detail).code("url_too_long");
        error.into_response()
    })
}

/// Whether a proxy in front must agree with the server on the length of the body.
fn has_clear_framing(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// The length of a URL, as the request line has it.
fn target_len(uri: &Uri) -> usize {
    let scheme = uri
        .scheme_str()
        .map_or(0, |scheme| scheme.len() + "://".len());
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    scheme + authority + path
}

/// The body of a request.
struct Arriving {
    body: Incoming,
    activity: Arc<Activity>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Pending => self.activity.body_waits(),
            Poll::Ready(Some(Ok(frame))) => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                self.activity.body_came(len);
            }
            Poll::Ready(_) => self.activity.body_ended(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.activity.body_ended();
    }
}

/// The body of an answer. Over HTTP/2 it is sent in small pieces: the next one is taken when the
/// client has room for it, which shows how late the client is.
pub(super) struct Answer {
    body: Body,
    ended: Ended,
    /// What is left of the frame that is sent in pieces.
    rest: Bytes,
    /// The length of the last piece.
    sent: usize,
}

/// Records on drop that the request is answered.
struct Ended(Arc<Activity>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.answered();
    }
}

impl Answer {
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let activity = &self.ended.0;
        activity.written(std::mem::take(&mut self.sent));
        if self.rest.is_empty() {
            let polled = Pin::new(&mut self.body).poll_frame(context);
            let Poll::Ready(Some(Ok(frame))) = polled else {
                activity.flushed();
                return polled;
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.sent = piece.len();
        activity.write_waits();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended.0.is_stream() {
            return self.poll_piece(context);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
