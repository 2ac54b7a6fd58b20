//! A running server as a client: the commands that work over the operator API, from any machine.

mod arguments;
mod refusal;

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{
    Certificate, ClientBuilder, Method, Request, RequestBuilder, Response, StatusCode, Url,
};
use serde::de::DeserializeOwned;

pub use self::arguments::ServerArgs;
pub(super) use self::arguments::server_url;
use self::refusal::refused;
use super::{FAILED, Outcome, USAGE};
use crate::secret::Secret;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take that is not a stream. The server ends a query after 30 seconds.
const ANSWER: Duration = Duration::from_secs(60);
/// How often the system asks whether a silent server is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A server, with the token and the project of the command line.
pub(super) struct Client {
    http: reqwest::Client,
    server: Url,
    project: String,
    /// The option that names the server.
    named_by: &'static str,
}

impl Client {
    /// A client for the server that the arguments name. It does not connect yet.
    pub(super) fn new(args: &ServerArgs) -> Outcome<Self> {
        Self::with_token(args, &args.token()?, "--server or GUARD_SERVER_URL")
    }

    /// The same with this token. `named_by` is the option that names the server.
    pub(super) fn with_token(
        args: &ServerArgs,
        token: &Secret,
        named_by: &'static str,
    ) -> Outcome<Self> {
        let bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let mut bearer = bearer.map_err(|_| {
            let message = "the token has characters that no token has; it looks like gt_...";
            (USAGE, message.to_owned())
        })?;
        bearer.set_sensitive(true);
        // Fails if there is one already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .tcp_keepalive(KEEPALIVE)
            .user_agent(concat!("guard-server/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]));
        if is_loopback(&args.server) {
            builder = builder.no_proxy();
        }
        let http = trusting(builder, args)?.build();
        let http = http.map_err(|error| (FAILED, format!("cannot use TLS: {}", cause(&error))))?;
        Ok(Self {
            http,
            server: args.server.clone(),
            project: args.project.clone(),
            named_by,
        })
    }

    /// A request to a path below `/api/v1/`, given by its parts.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.server.clone();
        // Only URLs such as `mailto:` have no path.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        self.http.request(method, url)
    }

    /// A request to a path of the project.
    pub(super) fn in_project(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let path = [&["projects", &self.project], path].concat();
        self.request(method, &path)
    }

    /// Sends a request, and returns the whole answer.
    pub(super) async fn text(&self, request: RequestBuilder) -> Outcome<String> {
        let response = self.open(request.timeout(ANSWER)).await?;
        let text = response.text().await;
        text.map_err(|error| self.unreachable(&error))
    }

    /// Sends a request, and reads the answer as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Outcome<T> {
        let text = self.text(request).await?;
        serde_json::from_str(&text).map_err(|error| {
            let message = format!(
                "{} does not answer as this version of guard-server does: {error}",
                self.server
            );
            (FAILED, message)
        })
    }

    /// Sends a request. Its answer may be read piece by piece, for as long as it takes.
    pub(super) async fn open(&self, request: RequestBuilder) -> Outcome<Response> {
        let request = built(request)?;
        let asked = request.url().clone();
        let sent = self.http.execute(request).await;
        let response = sent.map_err(|error| self.unreachable(&error))?;
        self.granted(response, &asked).await
    }

    /// The same, to go on after a connection was cut. `None` if the server cannot be reached or is
    /// too busy, which may end.
    pub(super) async fn open_again(&self, request: RequestBuilder) -> Outcome<Option<Response>> {
        let request = built(request)?;
        let asked = request.url().clone();
        let Ok(response) = self.http.execute(request).await else {
            return Ok(None);
        };
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(None);
        }
        self.granted(response, &asked).await.map(Some)
    }

    async fn granted(&self, response: Response, asked: &Url) -> Outcome<Response> {
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refused(response, asked, self).await)
    }

    /// The connection failed.
    fn unreachable(&self, error: &reqwest::Error) -> (u8, String) {
        let (server, cause) = (&self.server, cause(error));
        let message = if error.is_timeout() {
            format!("{server} does not answer in time")
        } else if cause.contains("certificate") {
            format!(
                "{server} is not trusted: {cause}; --ca-file names the certificate of a private CA"
            )
        } else if error.is_connect() {
            format!(
                "cannot connect to {server}: {cause}; is the server running? {} names another",
                self.named_by
            )
        } else {
            format!("the connection to {server} broke: {cause}")
        };
        (FAILED, message)
    }
}

fn built(request: RequestBuilder) -> Outcome<Request> {
    let built = request.build();
    built.map_err(|error| (USAGE, error.without_url().to_string()))
}

/// The innermost cause, which says most. Never the URL, which has the filter.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Chooses the certificates to trust.
fn trusting(builder: ClientBuilder, args: &ServerArgs) -> Outcome<ClientBuilder> {
    let Some(path) = &args.ca_file else {
        // Without TLS, a system without certificates is no obstacle.
        let is_plain = args.server.scheme() == "http";
        return Ok(if is_plain {
            builder.tls_certs_only([])
        } else {
            builder
        });
    };
    let certificates = certificates(path).map_err(|what| (USAGE, format!("--ca-file: {what}")))?;
    Ok(builder.tls_certs_only(certificates))
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, String> {
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let certificates = Certificate::from_pem_bundle(&pem);
    let certificates = certificates.map_err(|error| format!("{shown}: {}", cause(&error)))?;
    if certificates.is_empty() {
        return Err(format!("no certificate in {shown}; give a PEM file"));
    }
    Ok(certificates)
}

/// Whether this is the machine itself. Its servers are not asked through a proxy of the environment.
pub(super) fn is_loopback(server: &Url) -> bool {
    let host = server.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|it: std::net::IpAddr| it.is_loopback())
}
