//! Connections to the addresses that may be reached.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::failure::{Failure, Step};
use super::resolve::Resolver;
use crate::visible::visible;

/// How long one address may take, so that there is time left for the next one.
const PER_ADDRESS: Duration = Duration::from_secs(4);

/// When a request ends at the latest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Self {
            at: Instant::now() + limit,
            limit,
        }
    }

    /// Waits for `work`, which is `step`.
    pub(super) async fn within<T>(
        self,
        step: Step,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let seconds = self.limit.as_secs();
        let ended = timeout_at(self.at, work).await;
        ended.map_err(|_| Failure::Timeout { seconds, step })
    }
}

/// Connects to hosts. It judges the addresses it then connects to, so nothing can change in between.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) resolver: Arc<dyn Resolver>,
    /// What forbids an address, if something does.
    pub(super) judge: fn(IpAddr) -> Option<&'static str>,
}

impl Connector {
    /// Tries the addresses of `host` one after the other, without those that may not be reached.
    pub(super) async fn connect(
        &self,
        host: &str,
        port: u16,
        deadline: Deadline,
    ) -> Result<TcpStream, Failure> {
        let mut failure = None;
        for address in self.addresses(host, deadline).await? {
            if let Some(what) = (self.judge)(address) {
                failure.get_or_insert(Failure::Refused { address, what });
                continue;
            }
            let address = SocketAddr::new(address, port);
            let connecting = tokio::time::timeout(PER_ADDRESS, TcpStream::connect(address));
            let what = match deadline.within(Step::Connect, connecting).await? {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", PER_ADDRESS.as_secs()),
            };
            failure = Some(Failure::Connect { address, what });
        }
        Err(failure.unwrap_or_else(|| Failure::Name {
            host: visible(host).into_owned(),
            what: "it has no address".to_owned(),
        }))
    }

    async fn addresses(&self, host: &str, deadline: Deadline) -> Result<Vec<IpAddr>, Failure> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let found = self.resolver.resolve(host);
        let found = deadline.within(Step::Resolve, found).await?;
        found.map_err(|error| Failure::Name {
            host: visible(host).into_owned(),
            what: error.to_string(),
        })
    }
}
